"""A row of the outbox that no message can be made of costs its own work alone: all others are published, now and after a restart."""

import uuid
from collections.abc import Awaitable, Callable
from functools import partial

import asyncpg
import pytest
from prometheus_client import REGISTRY

from control_plane.database import Database, queries
from tests.control_plane.installation import Installation, prepare_topics, running
from tests.control_plane.launcher import Launcher, following
from tests.control_plane.waiting import eventually

HOOK = "https://hooks.example.com/stratum"
Spoil = Callable[[asyncpg.Connection, str], Awaitable[object]]


async def _view(sql: asyncpg.Connection, process_id: str) -> None:
    await sql.execute("""UPDATE steps SET inputs = jsonb_set(inputs, '{0,view}', '"no view; "') WHERE process_id = $1""", process_id)


async def _prefix(sql: asyncpg.Connection, process_id: str) -> None:
    await sql.execute(
        "UPDATE tenants t SET prefix = t.prefix || 'my data/' FROM processes p WHERE t.id = p.tenant AND p.id = $1", process_id
    )


async def _limits(sql: asyncpg.Connection, process_id: str) -> None:
    """What nobody foresaw: not even the kind of error is one of ours."""
    await sql.execute("UPDATE steps SET limits = $2::jsonb WHERE process_id = $1", process_id, '{"start_before_seconds": 60}')


async def _hopeless(sql: asyncpg.Connection, process_id: str) -> None:
    """Its attempt cannot be ended either."""
    limits = '{"start_before_seconds": 60, "max_attempts": 0}'
    await sql.execute("UPDATE steps SET limits = $2::jsonb WHERE process_id = $1", process_id, limits)


def _unmakable(kind: str) -> float:
    return REGISTRY.get_sample_value("stratum_unmakable_messages_total", {"kind": kind}) or 0.0


async def _relayed(still: Installation, sql: asyncpg.Connection) -> None:
    """A relay has done all there is to do, and was alive at the end."""

    role = still.relay()

    async def nothing_left() -> bool:
        role.check()
        return not await sql.fetchval("SELECT EXISTS (SELECT FROM outbox WHERE published_at IS NULL)")

    with running(role):
        await eventually(nothing_left, what="the end of the outbox")


async def _more_than(counted: float) -> bool:
    return _unmakable("run") > counted


async def _sent(launcher: Launcher, process_ids: list[str]) -> None:
    for process_id in process_ids:
        await launcher.command(process_id)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [(_view, "inputs.0.view"), (_prefix, "my data/"), (_limits, "a defect of Stratum (KeyError)")],
    ids=["view", "prefix", "unforeseen"],
)
async def test_what_makes_no_command_fails_and_nothing_else_does(still: Installation, spoil: Spoil, why: str) -> None:
    prepare_topics(still)
    counted = _unmakable("run")
    with following(still) as launcher:
        async with still.api() as client, still.sql() as sql:
            good, bad = await still.tenant(client), await still.tenant(client)
            for caller in (good, bad):
                await caller.ingest()
            ids = [(await good.accepted(number))["id"] for number in range(2)]
            poison = (await bad.accepted(1, callback_url=HOOK))["id"]
            ids += [(await good.accepted(number))["id"] for number in range(2, 4)]
            await spoil(sql, poison)

            await _relayed(still, sql)
            await _sent(launcher, ids)
            assert [await good.history(process_id) for process_id in ids] == [["accepted", "queued"]] * 4
            ended = await bad.process(poison)
            assert (ended["state"], why in ended["reason"]) == ("failed", True), ended["reason"]
            events = await bad.events(poison)
            assert [event["type"] for event in events] == ["accepted", "queued", "failed"]
            assert events[-1]["data"]["error_class"] == "INVALID_COMMAND"
            assert _unmakable("run") == counted + 1
            assert await sql.fetchval("SELECT type FROM webhook_deliveries WHERE process_id = $1", uuid.UUID(poison)) == "process.failed"
            assert await sql.fetchval("SELECT count(*) FROM claims WHERE process_id = $1", uuid.UUID(poison)) == 0

            after = (await good.accepted(4))["id"]
            await _relayed(still, sql)
            await _sent(launcher, [after])
            assert await bad.events(poison) == events
            assert [len(launcher.commands(process_id)) for process_id in [*ids, after]] == [1] * 5
            assert launcher.commands(poison) == []
            assert _unmakable("run") == counted + 1


async def test_good_and_bad_work_of_one_tenant_are_kept_apart(still: Installation) -> None:
    prepare_topics(still)
    with following(still) as launcher:
        async with still.api() as client, still.sql() as sql:
            acme = await still.tenant(client)
            await acme.ingest()
            ids = [(await acme.accepted(number))["id"] for number in range(3)]
            await _view(sql, ids[0])
            await _limits(sql, ids[1])
            await _relayed(still, sql)
            await _sent(launcher, ids[2:])
            assert [(await acme.process(process_id))["state"] for process_id in ids] == ["failed", "failed", "queued"]
            assert (await acme.accepted(0))["id"] not in ids, "its name is free for another try"


async def test_what_cannot_even_be_failed_does_not_hold_up_others(still: Installation) -> None:
    prepare_topics(still)
    with following(still) as launcher:
        async with still.api() as client, still.sql() as sql:
            acme = await still.tenant(client)
            await acme.ingest()
            poison = (await acme.accepted(0))["id"]
            await _hopeless(sql, poison)
            for number in (1, 2):
                counted = _unmakable("run")
                with running(still.relay()):
                    await eventually(partial(_more_than, counted), what="a try at it")
                    await _sent(launcher, [(await acme.accepted(number))["id"]])
            assert (await acme.process(poison))["state"] == "queued"


async def test_a_cancel_that_cannot_be_made_has_no_job_to_end(still: Installation) -> None:
    """Without a command there was no job; the process ends as the caller wished."""
    prepare_topics(still)
    async with still.api() as client, still.sql() as sql:
        acme = await still.tenant(client)
        await acme.ingest()
        process_id = (await acme.accepted(0))["id"]
        database = Database(still.relay_settings)
        async with database.connection() as connection:
            await queries.release(connection, max_in_flight=10)
        await database.close()
        await acme.ok("POST", f"/v1/processes/{process_id}/cancel")
        await _misnumber(sql, process_id)
        counted = _unmakable("cancel")
        await _relayed(still, sql)
        assert _unmakable("cancel") == counted + 1
        assert (await acme.process(process_id))["state"] == "cancelled"
        assert await acme.history(process_id) == ["accepted", "queued", "cancelling", "cancelled"]


async def _misnumber(sql: asyncpg.Connection, process_id: str) -> None:
    """Give the process's step a number that no message takes."""
    number, of = 1001, uuid.UUID(process_id)
    async with sql.transaction():
        await sql.execute("ALTER TABLE attempts DROP CONSTRAINT attempts_process_id_step_fkey")
        await sql.execute("UPDATE steps SET number = $1 WHERE process_id = $2", number, of)
        for table in ("attempts", "outbox"):
            await sql.execute(f"UPDATE {table} SET step = $1 WHERE process_id = $2", number, of)
