"""Waiting has limits of its own, and says what it waits for; want of room is no failure."""

import asyncio
from typing import Any

import pytest
import pytest_asyncio

from contracts.states import AttemptState
from control_plane import deadlines, lifecycle
from control_plane.lifecycle import Ending
from tests.control_plane.direct import Direct, directly
from tests.control_plane.installation import LEASE_SECONDS, Installation
from tests.control_plane.waiting import eventually


@pytest_asyncio.fixture(loop_scope="session")
async def direct(still: Installation) -> Any:
    async with directly(still.but(retry_delay_seconds=0)) as direct:
        yield direct


async def _wait_long(direct: Direct) -> None:
    """As if the job had waited for longer than it may."""
    await direct.sql("UPDATE attempts SET pending_since = pending_since - interval '3601 seconds' WHERE rank = 30")


async def _reason(direct: Direct, process_id: object) -> str:
    return str((await direct.caller.process(str(process_id)))["reason"])


async def test_a_job_that_cannot_start_is_ended_with_its_last_cause(direct: Direct) -> None:
    command = await direct.command()
    await direct.say("submitted", command)
    await direct.say("pending", command, cause="no node has room for the driver, of 3: insufficient memory")
    await _wait_long(direct)
    await direct.deadlines()
    assert (await direct.caller.process(str(command.process_id)))["state"] == "submitted", "nobody has looked at the cluster since"
    await direct.relist(command, unseen=[direct.caller.tenant])
    await direct.deadlines()
    assert (await direct.caller.process(str(command.process_id)))["state"] == "submitted", "the look did not see this tenant"
    await direct.relist(command)
    await direct.deadlines()
    process = await direct.caller.process(str(command.process_id))
    assert process["attempts"][0]["reason"] == (
        "its job waited for its driver for more than 3600 s; at last: no node has room for the driver, of 3: insufficient memory"
    )
    assert (process["state"], process["attempts"][0]["error_class"]) == ("accepted", "PENDING_LIMIT")
    (cancel,) = await direct.publish()
    assert (cancel.kind, cancel.attempt) == ("cancel", 1)


async def test_waiting_in_a_queue_does_not_count(direct: Direct) -> None:
    command = await direct.command()
    await direct.say("submitted", command)
    await direct.say("pending", command, cause="waiting for room in the queue 'small'", queued=True)
    await _wait_long(direct)
    await direct.relist(command)
    await direct.deadlines()
    assert (await direct.caller.process(str(command.process_id)))["state"] == "submitted"
    await direct.say("pending", command, cause="waiting for a node")
    await direct.relist(command)
    await direct.deadlines()
    assert (await direct.caller.process(str(command.process_id)))["state"] == "submitted", "it begins when the queue lets it go"
    await _wait_long(direct)
    await direct.relist(command)
    await direct.deadlines()
    assert (await direct.caller.process(str(command.process_id)))["state"] == "accepted"


async def test_an_action_has_its_own_limit(direct: Direct) -> None:
    command = await direct.command()
    await direct.sql("UPDATE steps SET limits = limits || '{\"pending_limit_seconds\": 7200}'")
    await direct.say("submitted", command)
    await _wait_long(direct)
    await direct.relist(command)
    await direct.deadlines()
    assert (await direct.caller.process(str(command.process_id)))["state"] == "submitted"


async def test_the_observers_news_may_come_before_the_launchers(direct: Direct) -> None:
    """The cause is told once: whoever passed it over would leave the process without one."""
    command = await direct.command()
    await direct.say("pending", command, cause="waiting for a node")
    assert await _reason(direct, command.process_id) == "waiting for a node"
    await direct.say("submitted", command)
    process = await direct.caller.process(str(command.process_id))
    assert (process["state"], process["reason"]) == ("submitted", "waiting for a node")
    assert process["attempts"][0]["resource_profile"]["driver_cores"] == 1
    assert await direct.caller.history(process["id"]) == ["accepted", "queued", "submitted", "pending"]


async def test_want_of_room_is_waited_for_and_uses_up_no_attempt(direct: Direct) -> None:
    command = await direct.command()
    process_id = str(command.process_id)
    for attempt in range(1, 7):
        await direct.say("refused", command, error_class="QUOTA_EXCEEDED", message="the quota takes no more Jobs")
        process = await direct.caller.process(process_id)
        assert (process["state"], process["reason"]) == ("accepted", "the quota takes no more Jobs; tried again in 0 s")
        command = await direct.next_command()
        assert command.attempt == attempt + 1
    driver = await direct.driver(command).started()
    await driver.failed(retryable=True)
    assert (await _reason(direct, process_id)).startswith("attempt 1 of 3: "), "a run that failed is the first try that counts"
    last = await direct.next_command()
    await direct.say("refused", last, error_class="QUOTA_EXCEEDED", message="the quota takes no more Jobs")
    last = await direct.next_command()
    await direct.sql("UPDATE attempts SET waiting_since = clock_timestamp() - interval '86401 seconds' WHERE rank < 60")
    await direct.say("refused", last, error_class="QUOTA_EXCEEDED", message="the quota takes no more Jobs")
    failed = await direct.caller.process(process_id)
    assert failed["state"] == "failed"
    assert failed["reason"].startswith("the quota takes no more Jobs (tried for 864")


@pytest.mark.parametrize("error_class", ["INVALID_PARAMETER", "QUERY_REFUSED", "PROPOSAL_REJECTED", "DIVIDE_BY_ZERO"])
async def test_a_run_that_claims_too_much_is_not_tried_again(error_class: str, direct: Direct) -> None:
    driver = await direct.driver(await direct.command()).started()
    await driver.failed(retryable=True, error_class=error_class)
    assert (await direct.caller.process(str(driver.command.process_id)))["state"] == "failed"


async def test_a_refusal_of_a_command_whose_run_goes_on_is_passed_over(direct: Direct) -> None:
    """Sent twice: the first made the job, the second met a launcher that would not."""
    driver = await direct.driver(await direct.command()).started()
    await direct.say("refused", driver.command)
    assert (await direct.caller.process(str(driver.command.process_id)))["state"] == "running"
    assert (await driver.heartbeat()).status_code == 200


async def test_a_list_that_did_not_see_a_tenant_loses_nothing_of_it(direct: Direct) -> None:
    command = await direct.command()
    await direct.say("submitted", command)
    await direct.sql("UPDATE attempts SET lease_until = clock_timestamp() - make_interval(secs => $1)", LEASE_SECONDS + 1)
    await direct.relist(unseen=[direct.caller.tenant])
    assert (await direct.caller.process(str(command.process_id)))["state"] == "submitted"
    await deadlines.tell_unwatched(direct.reconciler)
    assert "cannot be looked at" in await _reason(direct, command.process_id)
    await direct.relist()
    assert (await direct.caller.process(str(command.process_id)))["state"] == "accepted"


async def test_what_ended_while_it_was_looked_at_is_not_said_to_be_unwatched(direct: Direct) -> None:
    driver = await direct.driver(await direct.command()).started()
    process_id = driver.command.process_id
    long_over = "UPDATE attempts SET lease_until = clock_timestamp() - make_interval(secs => $1) WHERE process_id = $2"
    await direct.sql(long_over, LEASE_SECONDS + 1, process_id)
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with direct.installation.sql() as watch:
        async with direct.reconciler.database.transaction() as connection:
            current = await lifecycle.lock(connection, process_id)
            assert current is not None
            telling = asyncio.create_task(deadlines.tell_unwatched(direct.reconciler))
            await eventually(lambda: watch.fetchval(waiting), what="the reconciler at the lock")
            await lifecycle.ended(connection, current, Ending(AttemptState.FAILED, "INVALID_PARAMETER", "it cannot be", False), 0)
        await telling
    assert await direct.caller.history(str(process_id)) == ["accepted", "queued", "running", "failed"]
    assert await _reason(direct, process_id) == "it cannot be"


async def test_what_is_queued_says_where_it_lies_and_is_never_lost(direct: Direct) -> None:
    """No relay, no launcher, a job that nobody told of: to the platform each is a command on its way."""
    await direct.caller.accepted(1)
    await direct.release()
    (row,) = await direct.sql("SELECT id FROM processes")

    async def long_after() -> str:
        await direct.sql("UPDATE attempts SET released_at = clock_timestamp() - make_interval(secs => $1)", LEASE_SECONDS + 1)
        await direct.relist()
        await deadlines.tell_on_the_way(direct.reconciler)
        await direct.deadlines()
        process = await direct.caller.process(str(row["id"]))
        assert process["state"] == "queued"
        return str(process["reason"])

    assert await long_after() == "its command waits to leave for Kafka: no relay works, or Kafka takes no messages"
    (command,) = await direct.publish()
    assert await long_after() == "its command lies in Kafka: no launcher has taken it up yet"
    assert await long_after() == "its command lies in Kafka: no launcher has taken it up yet"
    driver = await direct.driver(command).started()  # type: ignore[arg-type]
    assert await _reason(direct, row["id"]) == "the run has started"
    assert await direct.caller.history(str(row["id"])) == ["accepted", "queued", "waiting", "waiting", "running"]
    assert (await driver.heartbeat()).status_code == 200
