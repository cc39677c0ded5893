"""The database keeps the state tables: by its guards, and by its CHECKs against whoever goes round them."""

import asyncio
from collections.abc import AsyncIterator
from itertools import product
from typing import Any
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio

from contracts.identifiers import new_id
from contracts.states import ATTEMPT_RANK, PROCESS_TRANSITIONS, AttemptState, ProcessState, attempt_may_become
from control_plane import lifecycle, observations
from control_plane.database import Database, queries
from control_plane.lifecycle import Current
from tests.control_plane.caller import Caller
from tests.control_plane.installation import Installation


@pytest_asyncio.fixture(loop_scope="session")
async def database(still: Installation) -> AsyncIterator[Database]:
    database = Database(still.api_settings)
    yield database
    await database.close()


@pytest_asyncio.fixture(loop_scope="session")
async def accepted(still: Installation) -> AsyncIterator[tuple[Caller, UUID]]:
    """A process that waits: nothing runs that would release it."""
    async with still.api() as client:
        caller = await still.tenant(client)
        await caller.ingest()
        yield caller, UUID((await caller.accepted(1))["id"])


UNGUARDED = "ALTER TABLE processes DISABLE TRIGGER final_is_final; ALTER TABLE attempts DISABLE TRIGGER final_is_final"
"""So that a test can put a row into any state; what is tested are the statements' own guards."""


async def test_a_process_moves_along_the_arrows_alone(database: Database, accepted: tuple[Caller, UUID]) -> None:
    _, process_id = accepted
    async with database.connection() as connection:
        await connection.execute(UNGUARDED)
    for state, following in product(ProcessState, ProcessState):
        async with database.transaction() as connection:
            # a process is put where the row begins, against the database's own will
            await connection.execute("ALTER TABLE processes DISABLE TRIGGER final_is_final")
            await connection.execute(
                "UPDATE processes SET state = $2, ended_at = CASE WHEN $3 THEN now() END WHERE id = $1",
                process_id,
                state.value,
                state.is_final,
            )
            await connection.execute("ALTER TABLE processes ENABLE TRIGGER final_is_final")
            current = await lifecycle.lock(connection, process_id)
            assert current is not None
            assert await lifecycle.move(connection, current, following, "test") is (following in PROCESS_TRANSITIONS[state]), (
                f"{state} -> {following}"
            )


async def _submit(connection: Any, current: Current) -> Any:
    return await queries.submit_attempt(connection, **current.key, job_name="j", cluster="c", resource_profile={}, lease_seconds=1.0)


async def _start(connection: Any, current: Current) -> Any:
    return await queries.start_attempt(connection, **current.key, run_id="r2", sequence=1, lease_seconds=1.0, time_limit_seconds=5)


async def _seal(connection: Any, current: Current) -> Any:
    return await queries.start_sealing(connection, **current.key, proposal_sha256=None, sequence=1)


def _end(state: str) -> Any:
    async def end(connection: Any, current: Current) -> Any:
        return await queries.end_attempt(connection, **current.key, state=state, reason="test", error_class=None)

    return end


WAYS = {
    AttemptState.SUBMITTED: _submit,
    AttemptState.STARTED: _start,
    AttemptState.SEALING: _seal,
    **{state: _end(state.value) for state in (AttemptState.SUCCEEDED, AttemptState.FAILED, AttemptState.LOST, AttemptState.CANCELLED)},
}


async def test_an_attempt_only_moves_forward(database: Database, accepted: tuple[Caller, UUID]) -> None:
    _, process_id = accepted
    async with database.connection() as connection:
        await connection.execute(UNGUARDED)
    seen = set()
    for state, (following, way) in product(AttemptState, WAYS.items()):
        async with database.transaction() as connection:
            await connection.execute("ALTER TABLE attempts DISABLE TRIGGER final_is_final")
            await connection.execute(
                "UPDATE attempts SET state = $2, rank = $3::smallint, ended_at = CASE WHEN $3::smallint = 60 THEN now() END, run_id = 'r', "
                "lease_until = now(), deadline = now(), start_before = now() WHERE process_id = $1",
                process_id,
                state.value,
                ATTEMPT_RANK[state],
            )
            await connection.execute("ALTER TABLE attempts ENABLE TRIGGER final_is_final")
            current = await lifecycle.read(connection, process_id)
            if await way(connection, current) is not None:
                assert attempt_may_become(state, following), f"{state} -> {following}"
                assert (await lifecycle.read(connection, process_id)).attempt_state is following
                seen.add((state, following))
    a = AttemptState
    assert {s for s, f in seen if f is a.STARTED} == {a.RELEASED, a.PUBLISHED, a.SUBMITTED}, "nothing starts before its release"
    assert {s for s, f in seen if f is a.SEALING} == {a.STARTED}, "only a granted run proposes"
    assert {s for s, f in seen if f is a.SUCCEEDED} == {a.SEALING}
    assert {s for s, f in seen if f is a.LOST} == {a.CREATED, a.RELEASED, a.PUBLISHED, a.SUBMITTED, a.STARTED}
    assert {s for s, f in seen if f is a.FAILED} == {a.CREATED, a.RELEASED, a.PUBLISHED, a.SUBMITTED, a.STARTED, a.SEALING}


ILLEGAL = {
    "UPDATE processes SET state = 'sleeping'": "processes_state_check",
    "UPDATE processes SET state = 'succeeded'": "final_processes_have_ended",
    "UPDATE processes SET ended_at = now()": "final_processes_have_ended",
    "UPDATE attempts SET rank = 10": "rank_is_of_state",
    "UPDATE attempts SET state = 'published', rank = 30, start_before = now()": "rank_is_of_state",
    "UPDATE attempts SET state = 'failed', rank = 60": "final_attempts_have_ended",
    "UPDATE attempts SET ended_at = now()": "final_attempts_have_ended",
    "UPDATE attempts SET state = 'started', rank = 40, lease_until = now(), deadline = now()": "only_a_granted_run_writes",
    "UPDATE attempts SET state = 'succeeded', rank = 60, ended_at = now()": "only_a_granted_run_writes",
    "UPDATE attempts SET state = 'started', rank = 40, run_id = 'r'": "a_running_attempt_has_a_lease",
    "UPDATE attempts SET state = 'released', rank = 10": "a_released_attempt_has_a_deadline",
    "UPDATE claims SET process_id = NULL": "one_owner",
    "UPDATE uploads SET state = 'forgotten'": "uploads_state_check",
    "UPDATE tenants SET prefix = '/wrong'": "tenants_prefix_check",
    "UPDATE api_keys SET role = 'owner'": "api_keys_role_check",
    "INSERT INTO claims SELECT * FROM claims": "claims_name",
    "INSERT INTO attempts (process_id, step, number, tenant, message_id) SELECT process_id, step, 2, tenant, message_id FROM attempts": (
        "attempts_one_open"
    ),
    "INSERT INTO processes SELECT (jsonb_populate_record(p, jsonb_build_object('id', gen_random_uuid()))).* FROM processes p": (
        "processes_work"
    ),
}


async def test_illegal_rows_are_impossible(still: Installation, accepted: tuple[Caller, UUID]) -> None:
    del accepted  # its rows are what is meddled with
    async with still.sql() as connection:
        for statement, constraint in ILLEGAL.items():
            with pytest.raises(asyncpg.IntegrityConstraintViolationError) as refused:
                await connection.execute(statement)
            assert refused.value.constraint_name == constraint, statement


async def test_history_and_results_never_change(still: Installation, accepted: tuple[Caller, UUID]) -> None:
    caller, process_id = accepted
    ended = "state = 'cancelled', rank = 60, ended_at = now()"
    async with still.sql() as connection:
        await connection.execute(f"UPDATE attempts SET {ended}; UPDATE processes SET state = 'cancelled', ended_at = now()")
        for statement in (
            "UPDATE events SET type = 'succeeded'",
            "DELETE FROM events",
            "UPDATE datasets SET rows = 5",
            "UPDATE processes SET state = 'accepted', ended_at = NULL",
            "UPDATE processes SET state = 'failed'",
            "UPDATE attempts SET state = 'created', rank = 0, ended_at = NULL",
            "UPDATE attempts SET state = 'lost'",
        ):
            with pytest.raises(asyncpg.RaiseError, match="never changes"):
                await connection.execute(statement)
    assert await caller.history(str(process_id)) == ["accepted"]


async def test_events_have_no_gaps_when_many_write_at_once(still: Installation, database: Database, accepted: tuple[Caller, UUID]) -> None:
    caller, process_id = accepted
    async with still.sql() as connection:
        await connection.execute("UPDATE processes SET state = 'submitted'")
        await connection.execute("UPDATE attempts SET state = 'submitted', rank = 30, start_before = now() + interval '1 hour'")

    async def no_proposal(_: Current) -> bool:
        return False

    async def say(number: int) -> None:
        event = observations.JobPending(
            event_id=new_id(), at="2024-10-05T12:00:00Z", cluster="c", tenant=caller.tenant, process_id=process_id, step=0, attempt=1,
            job_name="j", cause=f"waits for node {number}",
        )  # fmt: skip
        await observations.apply(database, still.reconcile_settings, no_proposal, event)

    await asyncio.gather(*(say(number) for number in range(40)))
    events = await caller.events(str(process_id))
    assert len(events) == 41
    assert {event["data"]["reason"] for event in events[1:]} == {f"waits for node {number}" for number in range(40)}
