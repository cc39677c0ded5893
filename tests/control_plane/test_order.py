"""Messages out of order, twice, late and broken."""

import json
from typing import get_args

import asyncpg
from confluent_kafka import Message

from contracts.command import Command
from contracts.topics import OFFSET_HEADER, PARTITION_HEADER, REASON_HEADER, TOPIC_HEADER
from control_plane import observations
from control_plane.sealing import seal_next
from tests.control_plane.caller import Caller
from tests.control_plane.driver import Driver
from tests.control_plane.installation import Installation, prepare_topics, running
from tests.control_plane.launcher import PROFILE, Launcher, following
from tests.control_plane.steps import Steps
from tests.control_plane.waiting import eventually


async def test_the_run_is_faster_than_the_news_of_its_job(steps: Steps, acme: Caller, launcher: Launcher) -> None:
    command = await steps.queued()
    process_id = str(command.process_id)
    driver = await steps.driver(command).started()
    await launcher.say("submitted", command)
    await launcher.caught_up()
    process = await acme.process(process_id)
    assert process["state"] == "running"
    assert process["attempts"][0]["resource_profile"] == PROFILE
    assert await acme.history(process_id) == ["accepted", "queued", "running"]
    await driver.finished(await driver.make())
    await acme.until(process_id, "succeeded")
    assert await acme.history(process_id) == ["accepted", "queued", "running", "sealing", "succeeded"]


async def test_a_lost_last_report_is_made_up_for_by_the_proposal(steps: Steps, acme: Caller, launcher: Launcher) -> None:
    driver = await steps.running()
    await driver.make()
    await launcher.say("ended", driver.command)
    done = await acme.until(str(driver.command.process_id), "succeeded")
    events = await acme.events(done["id"])
    assert [event["type"] for event in events] == ["accepted", "queued", "submitted", "running", "sealing", "succeeded"]
    assert events[4]["data"]["witness"] == "proposal"
    assert done["artifacts"][0]["dataset"] == "filtered-1"


async def test_an_end_without_a_proposal_is_tried_again(steps: Steps, acme: Caller, launcher: Launcher) -> None:
    driver = await steps.running()
    process_id = str(driver.command.process_id)
    await driver.write()
    await launcher.say("ended", driver.command)
    second = await launcher.command(process_id, attempt=2)
    late = await driver.finished(await driver.make())
    assert late.status_code == 410
    await steps.driver(second).complete()
    done = await acme.until(process_id, "succeeded")
    assert await acme.history(process_id) == [
        "accepted",
        "queued",
        "submitted",
        "running",
        "retrying",
        "queued",
        "running",
        "sealing",
        "succeeded",
    ]
    assert [(a["number"], a["state"]) for a in done["attempts"]] == [(1, "failed"), (2, "succeeded")]


async def test_the_end_of_the_job_while_its_result_is_sealed_changes_nothing(still: Installation) -> None:
    """The driver exits right after its last report: the news of it must not overtake the seal."""
    prepare_topics(still)
    outcomes = get_args(observations.JobEnded.model_fields["outcome"].annotation)
    with following(still) as launcher:
        async with still.api() as client, still.reconciler() as reconciler:
            acme = await still.tenant(client)
            await acme.ingest()
            with running(still.relay()):
                accepted = [await acme.accepted(number) for number in range(len(outcomes))]
                commands = [await launcher.command(process["id"]) for process in accepted]
            for outcome, command in zip(outcomes, commands, strict=True):
                await Driver(client, still, command).complete()
                event = observations.JobEnded.model_validate(launcher.event("ended", command, outcome=outcome))
                await observations.apply(reconciler.database, reconciler.settings, reconciler.has_proposal, event)
                process = await acme.process(str(command.process_id))
                assert (process["state"], [a["state"] for a in process["attempts"]]) == ("sealing", ["sealing"]), outcome
                assert await seal_next(reconciler)
                await acme.until(process["id"], "succeeded")
                assert await acme.history(process["id"]) == ["accepted", "queued", "running", "sealing", "succeeded"]


async def test_everything_twice_changes_nothing(steps: Steps, acme: Caller, launcher: Launcher) -> None:
    command = await steps.queued()
    process_id = str(command.process_id)
    for _ in range(2):
        await launcher.say("submitted", command, adopted=True)
    for _ in range(2):
        await launcher.say("pending", command, cause="waits for quota")
    await acme.until_event(process_id, "pending")
    await launcher.caught_up()
    assert (await acme.process(process_id))["reason"] == "waits for quota"
    driver = steps.driver(command)
    for _ in range(2):
        await driver.report("started", token=command.flow_token)
    await driver.started()
    reference = await driver.make()
    for _ in range(2):
        assert (await driver.finished(reference)).status_code == 200
    await acme.until(process_id, "succeeded")
    again = await driver.finished(reference)
    assert (again.status_code, again.json()["state"]) == (200, "succeeded")
    for _ in range(2):
        await launcher.say("ended", command)
    await launcher.caught_up()
    assert await acme.history(process_id) == ["accepted", "queued", "submitted", "pending", "running", "sealing", "succeeded"]


async def test_news_of_an_earlier_attempt_is_passed_over(steps: Steps, acme: Caller, launcher: Launcher) -> None:
    driver = await steps.running()
    process_id = str(driver.command.process_id)
    await driver.failed(retryable=True)
    await launcher.command(process_id, attempt=2)
    await acme.until(process_id, "queued")
    before = await acme.process(process_id)
    for kind in ("submitted", "pending", "ended", "refused"):
        await launcher.say(kind, driver.command)
    await launcher.caught_up()
    assert await acme.process(process_id) == before


async def test_news_of_unknown_processes_is_passed_over(steps: Steps, acme: Caller, launcher: Launcher) -> None:
    command = await steps.queued()
    stranger = command.model_copy(update={"tenant": "somebody-else"})
    await launcher.say("submitted", stranger)
    await launcher.say("ended", stranger)
    await launcher.caught_up()
    assert await acme.history(str(command.process_id)) == ["accepted", "queued"]


def _broken(command: Command, launcher: Launcher) -> dict[str, bytes | None]:
    event = launcher.event("submitted", command)
    return {
        "not JSON": b"\xff\xfe",
        "empty": b"",
        "nothing": None,
        "an unknown type": json.dumps({**event, "type": "exploded"}).encode(),
        "no attempt": json.dumps({name: value for name, value in event.items() if name != "attempt"}).encode(),
        "a wrong time": json.dumps({**event, "at": 12}).encode(),
    }


async def test_unreadable_events_are_put_aside_with_the_reason(steps: Steps, acme: Caller, launcher: Launcher) -> None:
    command = await steps.queued()
    broken = _broken(command, launcher)
    letters = launcher.received[launcher.topics.dlq(launcher.topics.events)]
    before = len(letters)
    for value in broken.values():
        await launcher.publish(value, key=b"\xff key", partition=1)
    await launcher.say("submitted", command)  # those behind them still get through
    await acme.until(str(command.process_id), "submitted")

    async def look() -> bool:
        return len(letters) == before + len(broken)

    await eventually(look, what="the dead letters")
    for letter, value in zip(letters[before:], broken.values(), strict=True):
        headers = dict(letter.headers())
        assert (letter.value(), letter.key()) == (value, b"\xff key")
        assert headers[TOPIC_HEADER].decode() == launcher.topics.events
        assert headers[PARTITION_HEADER] == b"1"
        assert int(headers[OFFSET_HEADER]) >= 0
        assert headers[REASON_HEADER].decode().strip()


async def test_a_message_that_brings_a_defect_to_light_stops_nobody(
    steps: Steps, acme: Caller, launcher: Launcher, sql: asyncpg.Connection
) -> None:
    first, second = await steps.queued(1), await steps.queued(2)
    await sql.execute(
        f"""
        CREATE FUNCTION defect() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'a defect'; END $$;
        CREATE TRIGGER defect BEFORE UPDATE ON attempts FOR EACH ROW WHEN (NEW.process_id = '{first.process_id}')
            EXECUTE FUNCTION defect();"""
    )
    try:
        letters = launcher.received[launcher.topics.dlq(launcher.topics.events)]
        event = await launcher.say("submitted", first)
        await launcher.say("submitted", second)
        await acme.until(str(second.process_id), "submitted")

        async def look() -> Message | None:
            return next((letter for letter in letters if event["event_id"].encode() in (letter.value() or b"")), None)

        letter = await eventually(look, what="the dead letter")
        assert letter is not None
        assert "a defect" in dict(letter.headers())[REASON_HEADER].decode()
    finally:
        await sql.execute("DROP TRIGGER defect ON attempts; DROP FUNCTION defect")
    await launcher.publish(letter.value())
    await acme.until(str(first.process_id), "submitted")


async def test_text_that_the_database_cannot_hold_stops_nobody(steps: Steps, acme: Caller, launcher: Launcher) -> None:
    command = await steps.submitted()
    await launcher.say("pending", command, cause="waits for\x00a node")
    await launcher.say("ended", command, outcome="failed", message="exit code 1: \x00\x00")
    types = await acme.until_event(str(command.process_id), "retrying")
    assert types[:5] == ["accepted", "queued", "submitted", "pending", "retrying"]
    assert (await acme.events(str(command.process_id)))[3]["data"]["reason"] == "waits for\ufffda node"
