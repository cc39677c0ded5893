"""`lost` needs both: the lease is over, and a complete list of jobs that was begun after that does not have the job."""

import asyncio
from datetime import datetime

import asyncpg
import pytest

from contracts.command import Command
from tests.control_plane.caller import Caller
from tests.control_plane.installation import LEASE_SECONDS
from tests.control_plane.launcher import Launcher
from tests.control_plane.steps import Steps
from tests.control_plane.waiting import eventually


async def _now(acme: Caller) -> datetime:
    """Database time, asked as the observer asks it."""
    return datetime.fromisoformat((await acme.ok("GET", "/v1/time"))["now"])


async def _end_lease(sql: asyncpg.Connection, command: Command) -> None:
    """Let the attempt's lease be over, as if nothing had been heard for its whole length."""
    query = "UPDATE attempts SET lease_until = clock_timestamp() WHERE process_id = $1 AND number = $2"
    assert await sql.execute(query, command.process_id, command.attempt) == "UPDATE 1"


@pytest.mark.parametrize("state", ["submitted", "running"])
async def test_lost_only_when_the_lease_is_over_and_a_later_list_lacks_the_job(
    state: str, steps: Steps, acme: Caller, launcher: Launcher, sql: asyncpg.Connection
) -> None:
    command = await steps.submitted()
    process_id = str(command.process_id)
    if state == "running":
        await steps.driver(command).started()
    began_before = await _now(acme)
    await launcher.relist(began_before)
    assert (await acme.process(process_id))["state"] == state, "a list without the job while the lease holds"
    await _end_lease(sql, command)
    await launcher.relist(began_before)
    assert (await acme.process(process_id))["state"] == state, "a list that was begun before the lease was over, read after it"
    await launcher.relist(await _now(acme), command)
    assert (await acme.process(process_id))["state"] == state, "a later list that has the job"
    mine, launcher.cluster = launcher.cluster, "another-cluster"
    await launcher.relist(await _now(acme))
    assert (await acme.process(process_id))["state"] == state, "another cluster's list"
    launcher.cluster = mine
    await launcher.relist(await _now(acme))
    lost = (await acme.until_event(process_id, "retrying")).index("retrying")
    event = (await acme.events(process_id))[lost]
    assert (event["data"]["outcome"], event["data"]["error_class"]) == ("lost", "JOB_LOST")
    assert (await acme.process(process_id))["attempts"][0]["state"] == "lost"


async def test_without_a_list_nothing_is_lost(steps: Steps, acme: Caller, launcher: Launcher, sql: asyncpg.Connection) -> None:
    driver = await steps.running()
    await _end_lease(sql, driver.command)
    await launcher.caught_up()
    assert (await acme.process(str(driver.command.process_id)))["state"] == "running"
    assert (await driver.heartbeat()).status_code == 200
    await launcher.relist(await _now(acme))
    assert (await acme.process(str(driver.command.process_id)))["state"] == "running", "the lease was renewed in time"


async def test_what_is_on_its_way_is_never_lost(steps: Steps, acme: Caller, launcher: Launcher) -> None:
    command = await steps.queued()
    for _ in range(3):
        await launcher.relist(await _now(acme))
    assert await acme.history(str(command.process_id)) == ["accepted", "queued"]


async def test_each_heartbeat_renews_the_lease(steps: Steps, acme: Caller, launcher: Launcher, sql: asyncpg.Connection) -> None:
    driver = await steps.running()
    query = "SELECT extract(epoch FROM lease_until - clock_timestamp())::float FROM attempts WHERE process_id = $1"
    assert await sql.fetchval(query, driver.command.process_id) == pytest.approx(LEASE_SECONDS, abs=30)
    await _end_lease(sql, driver.command)
    assert (await driver.heartbeat()).status_code == 200
    assert await sql.fetchval(query, driver.command.process_id) == pytest.approx(LEASE_SECONDS, abs=30)
    await launcher.relist(await _now(acme))
    assert (await acme.process(str(driver.command.process_id)))["state"] == "running"


async def test_a_run_that_left_a_proposal_is_not_lost(steps: Steps, acme: Caller, launcher: Launcher, sql: asyncpg.Connection) -> None:
    """Its last report was lost, and so was the news of its end."""
    driver = await steps.running()
    await driver.make()
    await _end_lease(sql, driver.command)
    await launcher.relist(await _now(acme))
    await acme.until(str(driver.command.process_id), "succeeded")
    events = await acme.events(str(driver.command.process_id))
    assert [event["type"] for event in events] == ["accepted", "queued", "submitted", "running", "sealing", "succeeded"]
    assert events[4]["data"]["witness"] == "proposal"


async def test_a_heartbeat_that_comes_while_the_list_is_read_saves_the_run(
    steps: Steps, acme: Caller, launcher: Launcher, sql: asyncpg.Connection
) -> None:
    driver = await steps.running()
    process_id = driver.command.process_id
    await _end_lease(sql, driver.command)
    began = await _now(acme)
    async with sql.transaction():
        # what a heartbeat does: lock the process, then renew. The reconciler has chosen the attempt by then, and waits for the lock.
        await sql.execute("SELECT FROM processes WHERE id = $1 FOR UPDATE", process_id)
        reading = asyncio.create_task(launcher.relist(began))
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        await eventually(lambda: sql.fetchval(query), what="the reconciler at the lock")
        await sql.execute("UPDATE attempts SET lease_until = clock_timestamp() + interval '1 hour' WHERE process_id = $1", process_id)
    await reading
    assert await acme.history(str(process_id)) == ["accepted", "queued", "submitted", "running"]


async def test_a_live_job_without_heartbeats_has_stalled(steps: Steps, acme: Caller, launcher: Launcher, sql: asyncpg.Connection) -> None:
    driver = await steps.running()
    process_id = str(driver.command.process_id)
    await _end_lease(sql, driver.command)
    await launcher.relist(await _now(acme), driver.command)
    noted = await acme.process(process_id)
    assert (noted["state"], noted["reason"]) == ("running", "its job runs, but it sends no heartbeats"), "the first time is only noted"
    assert (await driver.heartbeat()).status_code == 200
    assert (await acme.process(process_id))["reason"] == "the run has started"
    await _end_lease(sql, driver.command)
    await launcher.relist(await _now(acme), driver.command)
    assert (await acme.process(process_id))["state"] == "running", "a heartbeat between makes it the first time again"

    await sql.execute(
        "UPDATE attempts SET silent_since = silent_since - make_interval(secs => $2) WHERE process_id = $1",
        driver.command.process_id,
        LEASE_SECONDS,
    )
    await launcher.relist(await _now(acme), driver.command)
    await acme.until_event(process_id, "retrying")
    event = next(event for event in await acme.events(process_id) if event["type"] == "retrying")
    assert event["data"]["error_class"] == "STALLED"
    cancel = await launcher.cancelled(process_id)
    assert cancel.attempt == 1
    assert (await driver.heartbeat()).status_code == 410
    second = await launcher.command(process_id, attempt=2)
    await launcher.say("ended", driver.command, outcome="killed")
    await steps.driver(second).complete()
    await acme.until(process_id, "succeeded")


async def test_a_process_says_that_nobody_can_see_its_job(steps: Steps, acme: Caller, launcher: Launcher, sql: asyncpg.Connection) -> None:
    driver, command = await steps.running(1), await steps.submitted(2)
    for process_id in (driver.command.process_id, command.process_id):
        await sql.execute(
            "UPDATE attempts SET lease_until = clock_timestamp() - make_interval(secs => $2) WHERE process_id = $1",
            process_id,
            LEASE_SECONDS + 1,
        )
        events = await acme.until_event(str(process_id), "unwatched")
        assert events.count("unwatched") == 1
        process = await acme.process(str(process_id))
        assert process["state"] in ("running", "submitted")
        assert "cannot be looked at" in process["reason"]
    assert (await driver.heartbeat()).status_code == 200
    assert (await acme.process(str(driver.command.process_id)))["reason"] == "the run has started"
    await launcher.relist(await _now(acme))
    await acme.until_event(str(command.process_id), "retrying")
    assert (await acme.process(str(driver.command.process_id)))["state"] == "running"


async def test_a_zombie_changes_nothing_that_a_reader_sees(steps: Steps, acme: Caller, launcher: Launcher, sql: asyncpg.Connection) -> None:
    zombie = await steps.running()
    process_id = str(zombie.command.process_id)
    await _end_lease(sql, zombie.command)
    await launcher.relist(await _now(acme))
    driver = await steps.driver(await launcher.command(process_id, attempt=2)).complete()
    done = await acme.until(process_id, "succeeded")
    sealed = driver.manifest()
    reference = await zombie.make()
    assert (await zombie.finished(reference)).status_code == 410
    await launcher.say("ended", zombie.command)
    await launcher.caught_up()
    assert driver.manifest() == sealed
    assert await acme.process(process_id) == done
    assert driver.run_id in done["artifacts"][0]["location"]
