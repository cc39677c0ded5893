"""Who goes next, and how many at once."""

import asyncio
from itertools import count
from typing import Any

import asyncpg
import httpx

from control_plane.database import Database, queries
from tests.control_plane.caller import Caller
from tests.control_plane.driver import Driver
from tests.control_plane.installation import Installation, prepare_topics, running
from tests.control_plane.launcher import Launcher, following
from tests.control_plane.waiting import eventually

IN_FLIGHT = "('queued', 'submitted', 'running', 'sealing', 'cancelling')"
PLACES = """
    SELECT p.id, (
        SELECT count(*) FROM processes o WHERE o.state = 'accepted' AND
            (turn(o) + in_flight(o.tenant), -o.priority, o.id) <= (turn(p) + in_flight(p.tenant), -p.priority, p.id)
    ) AS place FROM processes p WHERE p.state = 'accepted'"""
HELPERS = f"""
    CREATE FUNCTION in_flight(text) RETURNS bigint LANGUAGE sql AS
        $$ SELECT count(*) FROM processes WHERE tenant = $1 AND state IN {IN_FLIGHT} $$;
    CREATE FUNCTION turn(processes) RETURNS bigint LANGUAGE sql AS
        $$ SELECT count(*) FROM processes
           WHERE tenant = $1.tenant AND state = 'accepted' AND (-priority, id) <= (-$1.priority, $1.id) $$;"""


async def _tenants(still: Installation, client: httpx.AsyncClient, **caps: int) -> dict[str, Caller]:
    tenants = {name: await still.tenant(client, name, max_in_flight=cap) for name, cap in caps.items()}
    for caller in tenants.values():
        await caller.ingest()
    return tenants


async def _release(still: Installation, most: int) -> int:
    """One round of admission."""
    database = Database(still.relay_settings)
    try:
        async with database.connection() as connection:
            return int(await queries.release(connection, max_in_flight=most))
    finally:
        await database.close()


async def _queued(sql: asyncpg.Connection) -> dict[str, int]:
    rows = await sql.fetch(f"SELECT tenant, count(*) AS n FROM processes WHERE state IN {IN_FLIGHT} GROUP BY tenant")
    return {row["tenant"]: row["n"] for row in rows}


async def test_the_place_is_what_an_independent_count_says(still: Installation) -> None:
    async with still.api() as client, still.sql() as sql:
        tenants = await _tenants(still, client, acme=100, bolt=100, crow=2)
        priorities = [0, 5, 0, -5, 5, 0, 0]
        ids: dict[str, Caller] = {}
        for number, priority in enumerate(priorities * 2):
            for caller in tenants.values():
                ids[(await caller.accepted(number, priority=priority))["id"]] = caller
        await sql.execute(HELPERS)
        for _ in range(4):
            expected = {str(row["id"]): row["place"] for row in await sql.fetch(PLACES)}
            shown = {i: (await caller.process(i))["queue"] for i, caller in ids.items()}
            assert {i: queue["place"] for i, queue in shown.items() if queue} == expected
            assert sorted(expected.values()) == list(range(1, len(expected) + 1))
            assert await _release(still, most=len(ids) - len(expected) + 5) == 5


async def test_those_that_are_next_are_released_next(still: Installation) -> None:
    async with still.api() as client:
        tenants = await _tenants(still, client, acme=100, bolt=100)
        ids = {}
        for number, priority in enumerate([0, 0, 9, 0]):
            for caller in tenants.values():
                ids[(await caller.accepted(number, priority=priority))["id"]] = caller
        for in_flight in range(1, len(ids) + 1):
            queues = {i: (await caller.process(i))["queue"] for i, caller in ids.items()}
            (first,) = [i for i, queue in queues.items() if queue and queue["place"] == 1]
            assert queues[first]["cause"] == "next to be released, as soon as there is room"
            assert await _release(still, most=in_flight) == 1
            assert (await ids[first].process(first))["state"] == "queued"


async def test_a_thousand_of_one_do_not_stand_before_one_of_another(still: Installation) -> None:
    async with still.api() as client, still.sql() as sql:
        tenants = await _tenants(still, client, acme=1000, bolt=1000)
        for number in range(12):
            await tenants["acme"].accepted(number)
        for number in range(3):
            await tenants["bolt"].accepted(number)
        assert await _release(still, most=4) == 4
        assert await _queued(sql) == {"acme": 2, "bolt": 2}
        assert await _release(still, most=6) == 2
        assert await _queued(sql) == {"acme": 3, "bolt": 3}
        assert await _release(still, most=100) == 9


async def test_fairness_goes_before_priority(still: Installation) -> None:
    async with still.api() as client, still.sql() as sql:
        tenants = await _tenants(still, client, acme=1000, bolt=1000)
        for number in range(4):
            await tenants["bolt"].accepted(number)
        for number in range(4):
            await tenants["acme"].accepted(number, priority=1)
        assert await _release(still, most=4) == 4
        assert await _queued(sql) == {"acme": 2, "bolt": 2}
        assert await _release(still, most=5) == 1
        assert await _queued(sql) == {"acme": 3, "bolt": 2}, "priority decides where both have equally much"


async def test_a_tenants_cap_holds_back_that_tenant_alone(still: Installation) -> None:
    async with still.api() as client, still.sql() as sql:
        tenants = await _tenants(still, client, acme=2, bolt=1000)
        for number in range(5):
            await tenants["acme"].accepted(number, priority=9)
        last = await tenants["bolt"].accepted(1)
        assert await _release(still, most=100) == 3
        assert await _queued(sql) == {"acme": 2, "bolt": 1}
        assert (await tenants["bolt"].process(last["id"]))["queue"] is None
        assert await _release(still, most=100) == 0


GUARD = """
    CREATE FUNCTION guard() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF EXISTS (
            SELECT FROM (SELECT tenant, count(*) AS own, sum(count(*)) OVER () AS total FROM processes WHERE state IN %s GROUP BY tenant) f
            JOIN tenants t ON t.id = f.tenant WHERE f.own > t.max_in_flight OR f.total > 5)
        THEN RAISE EXCEPTION 'a cap was exceeded'; END IF;
        RETURN NULL;
    END $$;
    CREATE TRIGGER guard AFTER UPDATE ON processes FOR EACH STATEMENT EXECUTE FUNCTION guard();"""


async def test_no_cap_is_ever_exceeded(still: Installation) -> None:
    """Thirty processes of three tenants through room for five. The database itself watches every change."""
    prepare_topics(still)
    narrow = still.but(max_in_flight=5)
    async with narrow.api() as client, narrow.sql() as sql:
        tenants = await _tenants(narrow, client, acme=2, bolt=3, crow=100)
        await sql.execute(GUARD % IN_FLIGHT)
        posts = [caller.accepted(number) for number in range(10) for caller in tenants.values()]
        ids = {process["id"] for process in await asyncio.gather(*posts)}
        with following(narrow) as launcher, running(narrow.relay(), narrow.relay()):
            await asyncio.gather(*(_end_as_they_come(client, narrow, launcher, ids, worker, 4) for worker in range(4)))
        states = await sql.fetch("SELECT state, count(*) AS n FROM processes GROUP BY state")
        assert [tuple(row) for row in states] == [("failed", 30)]
        assert sum(len(launcher.commands(process_id)) for process_id in ids) == 30


async def _end_as_they_come(
    client: httpx.AsyncClient, installation: Installation, launcher: Launcher, ids: set[str], worker: int, workers: int
) -> None:
    """Fail each process whose number falls to this worker, as its command comes."""
    mine = [process_id for number, process_id in zip(count(), sorted(ids), strict=False) if number % workers == worker]
    waiting = set(mine)

    async def next_command() -> Any:
        return next((command for i in waiting for command in launcher.commands(i)), None)

    while waiting:
        command = await eventually(next_command, 60, "the next command")
        driver = await Driver(client, installation, command).started()
        assert (await driver.failed(retryable=False)).status_code == 200
        waiting.discard(str(command.process_id))
