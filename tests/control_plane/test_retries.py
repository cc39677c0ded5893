"""Trying again: by itself when that may help, and at the caller's wish."""

import asyncpg
import pytest

from tests.control_plane.caller import ENTITY, VERSION, Caller
from tests.control_plane.driver import Driver
from tests.control_plane.installation import Installation, prepare_topics, running
from tests.control_plane.launcher import Launcher, following
from tests.control_plane.steps import Steps

ONE_TRY = ["queued", "running", "retrying"]


async def _claims(sql: asyncpg.Connection, tenant: str) -> list[str]:
    return [row["dataset"] for row in await sql.fetch("SELECT dataset FROM claims WHERE tenant = $1 ORDER BY dataset", tenant)]


async def test_what_may_pass_is_tried_until_the_attempts_are_used_up(
    steps: Steps, acme: Caller, launcher: Launcher, sql: asyncpg.Connection
) -> None:
    accepted = await acme.accepted(1)
    runs = set()
    for attempt in (1, 2, 3):
        command = await launcher.command(accepted["id"], attempt)
        driver = await steps.driver(command).started()
        runs.add(driver.run_id)
        assert await _claims(sql, acme.tenant) == ["filtered-1"]
        taken = await acme.run(2, output_dataset="filtered-1")
        assert (taken.status_code, taken.json()["owner_process_id"]) == (409, accepted["id"])
        assert (await driver.failed(retryable=True)).status_code == 200
    failed = await acme.until(accepted["id"], "failed")
    assert failed["reason"] == "the executor ran out of disk (after 3 attempts)"
    assert [(a["number"], a["state"]) for a in failed["attempts"]] == [(1, "failed"), (2, "failed"), (3, "failed")]
    assert {a["run_id"] for a in failed["attempts"]} == runs
    assert await acme.history(accepted["id"]) == ["accepted", *ONE_TRY, *ONE_TRY, "queued", "running", "failed"]
    assert await _claims(sql, acme.tenant) == []
    assert (await acme.run(2, output_dataset="filtered-1")).status_code == 202


async def test_a_run_that_failed_is_told_of_its_own_attempt_and_gets_no_token_of_the_next(steps: Steps, platform: Installation) -> None:
    driver = await steps.running()
    answer = await driver.failed(retryable=True)
    assert (answer.status_code, answer.json()["state"]) == (200, "failed")
    assert platform.keys.verify(driver.token, "stratum:run", now=None).attempt == driver.command.attempt == 1
    again = await driver.failed(retryable=True)
    assert (again.status_code, again.json()["type"]) == (410, "urn:stratum:problem:attempt-ended")


async def test_each_pause_is_chosen_once_and_told(steps: Steps, acme: Caller, launcher: Launcher, sql: asyncpg.Connection) -> None:
    accepted = await acme.accepted(1)
    for attempt in (1, 2):
        driver = await steps.driver(await launcher.command(accepted["id"], attempt)).started()
        await driver.failed(retryable=True)
    await launcher.command(accepted["id"], 3)
    pauses = await sql.fetch(
        "SELECT extract(epoch FROM not_before - created_at)::float AS pause FROM attempts "
        "WHERE process_id = $1 AND number > 1 ORDER BY number",
        driver.command.process_id,
    )
    retrying = [event["data"] for event in await acme.events(accepted["id"]) if event["type"] == "retrying"]
    delays = [event["delay_seconds"] for event in retrying]
    # `created_at` is the transaction's beginning; how long that took until it chose is the machine's affair
    assert [row["pause"] >= delay for row, delay in zip(pauses, delays, strict=True)] == [True, True]
    assert 0.025 <= delays[0] <= 0.05 <= delays[1] <= 0.1, "twice as long each time, and at most half of it left to chance"
    assert [event["reason"] for event in retrying] == [
        f"attempt 1 of 3: the executor ran out of disk; tried again in {delays[0]:g} s",
        f"attempt 2 of 3: the executor ran out of disk; tried again in {delays[1]:g} s",
    ]
    assert {(event["outcome"], event["error_class"]) for event in retrying} == {("failed", "NO_SPACE")}
    messages = await sql.fetch("SELECT DISTINCT message_id FROM attempts WHERE process_id = $1", driver.command.process_id)
    assert len(messages) == 3


async def test_a_process_says_that_it_waits_for_its_next_attempt(still: Installation) -> None:
    later = still.but(retry_delay_seconds=3600)
    prepare_topics(later)
    with following(later) as launcher, running(later.relay()):
        async with later.api() as client:
            acme = await later.tenant(client)
            await acme.ingest()
            command = await launcher.command((await acme.accepted(1))["id"])
            await (await Driver(client, later, command).started()).failed(retryable=True)
            process = await acme.process(str(command.process_id))
            assert process["state"] == "accepted"
            assert process["queue"]["cause"].startswith("waits before its next attempt, until ")
            # one that is due goes before it, though it came later
            other = await acme.accepted(2)
            await launcher.command(other["id"])
            assert (await acme.process(process["id"]))["state"] == "accepted"
            assert len(launcher.commands(process["id"])) == 1


async def test_what_cannot_pass_is_not_tried_again(steps: Steps, acme: Caller, sql: asyncpg.Connection) -> None:
    driver = await steps.running()
    await driver.failed(retryable=False, message="column `delay` is not a number", error_class="DATATYPE_MISMATCH.CAST")
    failed = await acme.until(str(driver.command.process_id), "failed")
    assert failed["reason"] == "column `delay` is not a number"
    assert failed["ended_at"] is not None
    assert len(failed["attempts"]) == 1
    event = (await acme.events(failed["id"]))[-1]
    assert (event["type"], event["data"]["error_class"]) == ("failed", "DATATYPE_MISMATCH.CAST")
    assert await _claims(sql, acme.tenant) == []
    repeated = await driver.failed(retryable=False)
    assert repeated.status_code == 200, "the answer to the last report may be lost: the run may repeat it"


async def test_a_refused_command_fails_with_the_launchers_words(steps: Steps, acme: Caller, launcher: Launcher) -> None:
    command = await steps.queued()
    await launcher.say("refused", command)
    failed = await acme.until(str(command.process_id), "failed")
    assert failed["reason"] == "the launcher's catalog has no such action"
    assert await acme.history(failed["id"]) == ["accepted", "queued", "failed"]


@pytest.mark.parametrize(
    ("outcome", "attempt_state", "error_class", "again"),
    [
        ("completed", "failed", "NO_REPORT", True),
        ("failed", "failed", "DRIVER_FAILED", True),
        ("killed", "lost", "DRIVER_KILLED", True),
        ("vanished", "lost", "DRIVER_VANISHED", True),
        ("evicted", "lost", "EVICTED", True),
        ("absent", "lost", "JOB_ABSENT", True),
        ("out_of_memory", "failed", "OUT_OF_MEMORY", True),
        ("time_limit", "failed", "TIME_LIMIT", False),
        ("image_unavailable", "failed", "IMAGE_UNAVAILABLE", False),
    ],
)
async def test_how_a_job_ended_decides(
    outcome: str, attempt_state: str, error_class: str, again: bool, steps: Steps, acme: Caller, launcher: Launcher
) -> None:
    driver = await steps.running()
    process_id = str(driver.command.process_id)
    await launcher.say("ended", driver.command, outcome=outcome, message="as the cluster says")
    await acme.until_event(process_id, "retrying" if again else "failed")
    process = await acme.process(process_id)
    assert (process["attempts"][0]["state"], process["attempts"][0]["reason"]) == (attempt_state, "as the cluster says")
    assert process["attempts"][0]["error_class"] == error_class
    assert len(process["attempts"]) == (2 if again else 1)
    event = next(event for event in await acme.events(process_id) if event["type"] in ("retrying", "failed"))
    assert (event["data"]["outcome"], event["data"]["error_class"]) == (attempt_state, error_class)
    assert (await driver.heartbeat()).status_code == 410


async def test_a_failed_request_is_sent_again_as_a_new_process(steps: Steps, acme: Caller, launcher: Launcher) -> None:
    driver = await steps.running(1, labels={"team": "data"}, priority=7)
    first = str(driver.command.process_id)
    await driver.failed(retryable=False)
    answer = await acme.post(f"/v1/processes/{first}/retry")
    assert answer.status_code == 202
    second = answer.json()
    assert answer.headers["Location"] == f"/v1/processes/{second['id']}"
    assert second["id"] != first
    assert second["retry_of"] == first
    same = ("entity_id", "data_version", "action", "parameters", "input_dataset", "output_dataset", "labels", "priority")
    assert {name: second[name] for name in same} == {name: (await acme.process(first))[name] for name in same}
    assert (await acme.events(second["id"]))[0]["data"]["retry_of"] == first
    again = await acme.post(f"/v1/processes/{first}/retry")
    assert (again.status_code, again.json()["id"]) == (200, second["id"])
    await steps.driver(await launcher.command(second["id"])).complete()
    await acme.until(second["id"], "succeeded")
    assert (await acme.process(first))["state"] == "failed", "final is final"
    after = await acme.post(f"/v1/processes/{first}/retry")
    assert (after.status_code, after.json()["id"]) == (200, second["id"])


async def test_only_failed_and_cancelled_requests_are_sent_again(steps: Steps, acme: Caller) -> None:
    driver = await steps.running()
    path = f"/v1/processes/{driver.command.process_id}"
    active = await acme.post(f"{path}/retry")
    assert (active.status_code, active.json()["type"]) == (409, "urn:stratum:problem:conflict")
    await driver.finished(await driver.make())
    await acme.until(str(driver.command.process_id), "succeeded")
    assert (await acme.post(f"{path}/retry")).status_code == 409
    assert (await acme.post("/v1/processes/01a2005c-1da8-7168-bcfc-f47bc0202b7f/retry")).status_code == 404


async def test_a_retry_meets_other_work_on_its_name(steps: Steps, acme: Caller) -> None:
    driver = await steps.running(1)
    await driver.failed(retryable=False)
    other = (await acme.run(2, output_dataset="filtered-1")).json()
    answer = await acme.post(f"/v1/processes/{driver.command.process_id}/retry")
    assert (answer.status_code, answer.json()["owner_process_id"]) == (409, other["id"])
    assert (await acme.get(f"/v1/entities/{ENTITY}/versions/{VERSION}/datasets/filtered-1")).status_code == 404
