"""From the outbox to Kafka: each command is published by one leader, and twice at most as the same message."""

import asyncio
from typing import Any

import asyncpg

from contracts.command import Command
from contracts.identifiers import job_name
from control_plane.database import Database, queries
from tests.control_plane.driver import Driver
from tests.control_plane.installation import Installation, prepare_topics, running
from tests.control_plane.launcher import Launcher, following
from tests.control_plane.waiting import eventually


async def _accept(still: Installation, client: Any, most: int = 1) -> tuple[Any, list[str]]:
    acme = await still.tenant(client)
    await acme.ingest()
    return acme, [(await acme.accepted(number))["id"] for number in range(most)]


async def _forget_the_delivery(sql: asyncpg.Connection) -> None:
    """As after a relay that died between the delivery and its mark."""
    await sql.execute("UPDATE outbox SET published_at = NULL")
    await sql.execute("UPDATE attempts SET state = 'released', rank = 10 WHERE state = 'published'")


async def _commands(launcher: Launcher, process_id: str, most: int) -> list[Command]:
    async def look() -> list[Command] | None:
        commands = launcher.commands(process_id)
        return commands if len(commands) >= most else None

    return await eventually(look, what=f"{most} commands")  # type: ignore[return-value]


async def test_a_relay_that_dies_before_its_mark_is_followed_by_the_same_message(still: Installation) -> None:
    prepare_topics(still)
    with following(still) as launcher:
        async with still.api() as client, still.sql() as sql:
            acme, (process_id,) = await _accept(still, client)
            with running(still.relay()):
                await _commands(launcher, process_id, 1)
            await _forget_the_delivery(sql)
            with running(still.relay()):
                first, second = await _commands(launcher, process_id, 2)
            assert first == second
            values = [m.value() for m in launcher.received[launcher.topics.commands]]
            assert values[0] == values[1], "to the byte, the token included"
            assert job_name(first.process_id, first.step, first.attempt) == job_name(second.process_id, second.step, second.attempt)
            assert await acme.history(process_id) == ["accepted", "queued"]
            assert (await Driver(client, still, second).report("started")).status_code == 200
            assert (await Driver(client, still, first).report("started")).status_code == 409


async def test_what_went_on_meanwhile_is_marked_and_not_sent_again(still: Installation) -> None:
    prepare_topics(still)
    with following(still) as launcher:
        async with still.api() as client, still.sql() as sql:
            acme, (process_id,) = await _accept(still, client)
            with running(still.relay()):
                (command,) = await _commands(launcher, process_id, 1)
            await Driver(client, still, command).started()
            await _forget_the_delivery(sql)
            with running(still.relay()):
                await eventually(lambda: sql.fetchval("SELECT bool_and(published_at IS NOT NULL) FROM outbox"), what="the mark")
                (other,) = [(await acme.accepted(9))["id"]]
                await _commands(launcher, other, 1)
            assert launcher.commands(process_id) == [command]
            assert (await acme.process(process_id))["state"] == "running"


async def _all_marked(sql: asyncpg.Connection) -> bool:
    return bool(await sql.fetchval("SELECT NOT EXISTS (SELECT FROM outbox WHERE released_at IS NOT NULL AND published_at IS NULL)"))


async def test_of_two_relays_one_leads_and_the_other_takes_over(still: Installation) -> None:
    prepare_topics(still)
    with following(still) as launcher:
        async with still.api() as client, still.sql() as sql:
            acme, ids = await _accept(still, client, most=10)
            leaders = "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database WHERE d.datname = current_database() AND {}"
            with running(still.relay(), still.relay()):
                for process_id in ids:
                    await _commands(launcher, process_id, 1)
                # what is on Kafka and not marked yet is sent again by whoever leads next, rightly
                await eventually(lambda: _all_marked(sql), what="the marks")
                held = await sql.fetchval(leaders.format("locktype = 'advisory' AND granted"))
                assert held == 1
                leader = await sql.fetchval(
                    "SELECT pid FROM pg_locks l JOIN pg_database d ON d.oid = l.database "
                    "WHERE d.datname = current_database() AND locktype = 'advisory' AND granted"
                )
                await sql.execute("SELECT pg_terminate_backend($1)", leader)
                late = (await acme.accepted(10))["id"]
                await _commands(launcher, late, 1)
            counts = [len(launcher.commands(process_id)) for process_id in [*ids, late]]
            assert counts == [1] * 11
            assert [await acme.history(process_id) for process_id in ids] == [["accepted", "queued"]] * 10


async def test_a_cancel_does_not_wait_behind_commands(still: Installation) -> None:
    """It has a topic of its own."""
    prepare_topics(still)
    with following(still) as launcher:
        async with still.api() as client:
            acme, (process_id,) = await _accept(still, client)
            with running(still.relay()):
                await _commands(launcher, process_id, 1)
                await acme.post(f"/v1/processes/{process_id}/cancel")
                cancel = await launcher.cancelled(process_id)
            assert cancel.kind == "cancel"
            assert [m.topic() for m in launcher.received[launcher.topics.cancels]] == [f"{still.topic_prefix}.cancels.v1"]


async def test_admission_goes_on_while_an_attempt_is_locked(still: Installation) -> None:
    """A callback that holds one process does not hold up the others."""
    database = Database(still.relay_settings)
    async with still.api() as client, still.sql() as sql:
        _, ids = await _accept(still, client, most=3)
        async with sql.transaction():
            await sql.execute("SELECT FROM processes WHERE id = $1 FOR UPDATE", ids[0])
            async with database.connection() as connection:
                assert await asyncio.wait_for(queries.release(connection, max_in_flight=10), 5) == 2
        async with database.connection() as connection:
            assert await queries.release(connection, max_in_flight=10) == 1
    await database.close()
