"""Attempts that are past a deadline are ended, and their jobs with them."""

import asyncpg
import pytest

from control_plane.deadlines import enforce_deadlines
from tests.control_plane.caller import Caller
from tests.control_plane.installation import Installation
from tests.control_plane.launcher import Launcher
from tests.control_plane.steps import Steps


async def test_a_run_that_takes_longer_than_its_time_limit(steps: Steps, acme: Caller, launcher: Launcher, sql: asyncpg.Connection) -> None:
    driver = await steps.running()
    process_id = str(driver.command.process_id)
    assert (await acme.process(process_id))["state"] == "running"
    limit = driver.command.time_limit_seconds
    deadline = await sql.fetchval(
        "SELECT extract(epoch FROM deadline - started_at)::float FROM attempts WHERE process_id = $1", driver.command.process_id
    )
    assert round(deadline) == limit
    await sql.execute(
        "UPDATE attempts SET deadline = clock_timestamp() - interval '61 seconds' WHERE process_id = $1", driver.command.process_id
    )
    failed = await acme.until(process_id, "failed")
    assert failed["reason"] == f"the run took longer than its time limit of {limit} s"
    assert (await acme.events(process_id))[-1]["data"]["error_class"] == "TIME_LIMIT"
    assert (await launcher.cancelled(process_id)).attempt == 1
    assert (await driver.heartbeat()).status_code == 410


async def test_a_run_that_is_a_little_over_is_left_to_its_own_end(steps: Steps, acme: Caller, sql: asyncpg.Connection) -> None:
    driver = await steps.running(1)
    await sql.execute("UPDATE attempts SET deadline = clock_timestamp() WHERE process_id = $1", driver.command.process_id)
    other = await steps.running(2)
    await sql.execute(
        "UPDATE attempts SET deadline = clock_timestamp() - interval '61 seconds' WHERE process_id = $1", other.command.process_id
    )
    await acme.until(str(other.command.process_id), "failed")
    assert (await acme.process(str(driver.command.process_id)))["state"] == "running"
    assert (await driver.finished(await driver.make())).status_code == 200
    await acme.until(str(driver.command.process_id), "succeeded")


async def test_a_job_that_does_not_start_in_time(steps: Steps, acme: Caller, launcher: Launcher, sql: asyncpg.Connection) -> None:
    commands = [await steps.queued(1), await steps.submitted(2)]
    await launcher.say("pending", commands[1], cause="no node has room for the driver")
    await acme.until_event(str(commands[1].process_id), "pending")
    wheres = ("its command lay in Kafka, and no launcher made a job of it", "its job waited; at last: no node has room for the driver")
    await sql.execute("UPDATE attempts SET start_before = clock_timestamp() WHERE tenant = $1", acme.tenant)
    for command, where in zip(commands, wheres, strict=True):
        failed = await acme.until(str(command.process_id), "failed")
        assert failed["reason"] == f"the run did not start before its deadline: {where}"
        assert (await acme.history(failed["id"]))[-1] == "failed"
        assert (await launcher.cancelled(failed["id"])).attempt == 1
        assert (await steps.driver(command).report("started")).status_code == 410
    assert (await acme.run(3, output_dataset="filtered-1")).status_code == 202, "the name is free again"


async def test_an_attempt_that_cannot_be_ended_keeps_no_other_from_its_end(
    platform: Installation, steps: Steps, acme: Caller, sql: asyncpg.Connection
) -> None:
    ids = [(await steps.running(number)).command.process_id for number in (1, 2, 3)]
    sound, troubled = ids[1], [ids[0], ids[2]]  # in whatever order they are looked at, one of these comes before it
    await sql.execute("""UPDATE steps SET limits = limits || '{"time_limit_seconds": "soon"}' WHERE process_id = ANY($1)""", troubled)
    await sql.execute("UPDATE attempts SET deadline = clock_timestamp() - interval '61 seconds' WHERE process_id = ANY($1)", ids)
    await acme.until(str(sound), "failed")
    async with platform.reconciler() as reconciler:
        with pytest.raises(ExceptionGroup) as met:
            await enforce_deadlines(reconciler)
    said = {note for defect in met.value.exceptions for note in defect.__notes__}
    assert said == {f"process {process_id}, attempt 1" for process_id in troubled}
    for process_id in troubled:
        assert (await acme.process(str(process_id)))["state"] == "running"
