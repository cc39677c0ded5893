"""A run that waits says for what: the process's reason, one event for each cause, taken back when it is over."""

from tests.control_plane.caller import Caller
from tests.control_plane.steps import Steps

QUOTA = "executors are refused: the quota 'room' of the tenant's namespace has no room for another"
NODE = "executors wait for a node: none of 1 has room: 1 Insufficient memory"


async def test_cause_is_the_reason_and_one_event(steps: Steps, acme: Caller) -> None:
    driver = await steps.running()
    process_id = str(driver.command.process_id)
    for cause in (QUOTA, QUOTA, NODE, NODE):
        assert (await driver.heartbeat(stage="writing", waiting=cause)).status_code == 200
        assert (await acme.process(process_id))["reason"] == cause
    said = [event["data"]["reason"] for event in await acme.events(process_id) if event["type"] == "waiting"]
    assert said == [QUOTA, NODE]


async def test_cause_is_taken_back_when_it_is_over(steps: Steps, acme: Caller) -> None:
    driver = await steps.running()
    process_id = str(driver.command.process_id)
    before = (await acme.process(process_id))["reason"]
    assert (await driver.heartbeat(stage="writing", waiting=QUOTA)).status_code == 200
    assert (await driver.heartbeat(stage="writing")).status_code == 200
    process = await acme.process(process_id)
    assert (process["state"], process["reason"]) == ("running", before)
    assert "waiting" not in process["attempts"][0]["progress"]
    assert (await acme.history(process_id)).count("waiting") == 1


async def test_report_that_was_overtaken_changes_no_reason(steps: Steps, acme: Caller) -> None:
    driver = await steps.running()
    process_id = str(driver.command.process_id)
    assert (await driver.heartbeat(waiting=QUOTA)).status_code == 200
    overtaken = driver.sequence
    assert (await driver.heartbeat(stage="writing")).status_code == 200
    reason = (await acme.process(process_id))["reason"]
    assert (await driver.report("heartbeat", sequence=overtaken, progress={"waiting": QUOTA})).status_code == 200
    assert (await acme.process(process_id))["reason"] == reason
