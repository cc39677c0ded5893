"""A crowd of one tenant does not hold up another; and the two ways to ask for a place say the same."""

import random
import time
from typing import Any

import asyncpg
import pytest

from control_plane.api import processes
from tests.control_plane.caller import Caller
from tests.control_plane.filling import fill
from tests.control_plane.installation import Installation
from tests.control_plane.test_quotas import release


async def test_the_thousand_and_first_of_another_goes_next(still: Installation) -> None:
    async with still.api() as client, still.sql() as sql:
        crowd, single = await still.tenant(client, "acme"), await still.tenant(client, "bolt")
        for caller in (crowd, single):
            await caller.ingest()
        await fill(sql, (await crowd.accepted(1))["id"], 999)
        assert await release(still, most=20) == 20
        late = (await single.accepted(1))["id"]
        assert (await single.process(late))["queue"] == {"place": 1, "cause": "next to be released, as soon as there is room"}
        assert await release(still, most=20) == 0, "no room, no release"
        assert await release(still, most=21) == 1
        assert (await single.process(late))["state"] == "queued"


async def test_priorities_of_one_tenant_are_not_those_of_another(still: Installation) -> None:
    async with still.api() as client, still.sql() as sql:
        crowd, single = await still.tenant(client, "acme"), await still.tenant(client, "bolt")
        for caller in (crowd, single):
            await caller.ingest()
        first = (await crowd.accepted(1))["id"]
        await fill(sql, (await crowd.accepted(2, priority=100))["id"], 998)
        assert await release(still, most=1) == 1
        modest = (await single.accepted(1, priority=-100))["id"]
        assert (await single.process(modest))["queue"]["place"] == 1
        assert (await crowd.process(first))["queue"]["place"] == 1 + 998 + 1, "within a tenant the highest goes first"
        assert await release(still, most=2) == 1
        assert (await single.process(modest))["state"] == "queued"


async def test_both_ways_to_ask_for_a_place_agree_with_a_plain_sort(still: Installation) -> None:
    dice = random.Random(8842)
    async with still.api() as client, still.sql() as sql:
        callers = {name: await still.tenant(client, name, max_in_flight=cap) for name, cap in {"acme": 20, "bolt": 9, "crow": 50}.items()}
        for caller in callers.values():
            await caller.ingest()
        await sql.execute("UPDATE tenants SET max_executor_cores = 20 WHERE id = 'crow'")
        for caller in callers.values():
            await fill(sql, (await caller.accepted(1))["id"], 29)
        for row in await sql.fetch("SELECT id FROM processes"):
            await sql.execute("UPDATE processes SET priority = $2 WHERE id = $1", row["id"], dice.choice([-1, 0, 0, 3]))
            await sql.execute("UPDATE steps SET executor_cores = $2 WHERE process_id = $1", row["id"], dice.choice([1, 2, 7, 25]))
        await release(still, most=13)
        for row in await sql.fetch("SELECT id FROM processes WHERE state = 'accepted'"):
            if dice.random() < 0.2:
                await sql.execute("UPDATE attempts SET not_before = now() + interval '1 hour' WHERE process_id = $1", row["id"])
        await _agree(sql)
        for name, caller in callers.items():
            await _shown(sql, caller, name)
        for most in (20, 31, 47, 1000):
            first = await _order(sql)
            room = most - await sql.fetchval("SELECT count(*) FROM processes WHERE state = 'queued'")
            chosen = [row["process_id"] for row in first if row["due"] and row["within_in_flight"] and row["within_cores"]][: max(room, 0)]
            assert await release(still, most=most) == len(chosen)
            assert await sql.fetchval("SELECT count(*) FROM processes WHERE id = ANY($1) AND state = 'queued'", chosen) == len(chosen)
            await _agree(sql)


async def _order(sql: asyncpg.Connection) -> list[asyncpg.Record]:
    return list(await sql.fetch("SELECT * FROM admission_queue(NULL) ORDER BY place"))


async def _agree(sql: asyncpg.Connection) -> None:
    """The view of all, the place of one, and a sort that knows nothing of either."""
    rows = await sql.fetch(
        "SELECT p.id, p.tenant, p.priority, a.not_before <= now() AS due, s.executor_cores AS cores, t.max_in_flight, t.max_executor_cores "
        "FROM processes p JOIN attempts a ON a.process_id = p.id JOIN steps s ON s.process_id = p.id JOIN tenants t ON t.id = p.tenant "
        "WHERE p.state = 'accepted' ORDER BY p.id"
    )
    running = {row["tenant"]: row for row in await sql.fetch("SELECT * FROM in_flight")}
    expected: list[tuple[Any, ...]] = []
    own: dict[str, tuple[int, int]] = {}
    for row in sorted(rows, key=lambda r: (not r["due"], -r["priority"], r["id"])):
        before, cores = own.get(row["tenant"], (0, 0))
        own[row["tenant"]] = before + 1, cores + row["cores"]
        f = running[row["tenant"]]
        limit = row["max_executor_cores"]
        fits = limit is None or f["running_cores"] + cores + row["cores"] <= limit or (f["running_cores"] == 0 and before == 0)
        within = f["running"] + before + 1 <= row["max_in_flight"]
        expected.append((not row["due"], f["running"] + before + 1, -row["priority"], row["id"], within, fits))
    wanted = [(each[3], place, each[4], each[5]) for place, each in enumerate(sorted(expected), 1)]
    columns = ("process_id", "place", "within_in_flight", "within_cores")
    assert [tuple(row[name] for name in columns) for row in await _order(sql)] == wanted
    singly = await sql.fetch("SELECT q.* FROM processes p CROSS JOIN LATERAL queue_place(p.id) q ORDER BY q.place")
    assert [tuple(row[name] for name in columns) for row in singly] == wanted
    assert len(wanted) == len(rows)


async def _shown(sql: asyncpg.Connection, caller: Caller, tenant: str) -> None:
    """What a tenant is shown, one by one and in a list, is the order of all tenants."""
    places = {str(row["process_id"]): row["place"] for row in await _order(sql) if row["tenant"] == tenant}
    listed = (await caller.ok("GET", "/v1/processes?limit=200"))["items"]
    assert {item["id"]: item["queue"]["place"] for item in listed if item["queue"]} == places
    for item in listed[::7]:
        assert (await caller.process(item["id"]))["queue"] == item["queue"]


async def test_where_many_wait_a_post_counts_them_no_more(still: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "COUNTED", 3)
    async with still.api() as client:
        crowd, single = await still.tenant(client, "acme"), await still.tenant(client, "bolt")
        for caller in (crowd, single):
            await caller.ingest()
        told = [(await caller.accepted(number))["queue"] for number, caller in enumerate((crowd, crowd, single, single, crowd))]
        assert [place["place"] if place else None for place in told] == [1, 2, 2, None, None], "all tenants' processes are counted"
        listed = {item["id"]: item["queue"] for item in (await crowd.ok("GET", "/v1/processes"))["items"]}
        for process_id, place in listed.items():
            assert place is not None
            assert (await crowd.process(process_id))["queue"] == place


async def test_a_list_sorts_no_more_than_so_many(still: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    async with still.api() as client, still.sql() as sql:
        crowd, single = await still.tenant(client, "acme"), await still.tenant(client, "bolt")
        for caller in (crowd, single):
            await caller.ingest()
        await single.accepted(1)
        [item] = (await single.ok("GET", "/v1/processes"))["items"]
        assert item["queue"]["place"] == 1
        monkeypatch.setattr(processes, "SORTED", 5)
        await fill(sql, (await crowd.accepted(2))["id"], 4)
        [item] = (await single.ok("GET", "/v1/processes"))["items"]
        assert (item["state"], item["queue"]) == ("accepted", None)
        assert (await single.process(item["id"]))["queue"]["place"] == 1, "one by one it is always told"


async def test_a_list_costs_no_more_than_a_single_one_where_another_holds_very_many(still: Installation) -> None:
    async with still.api() as client, still.sql() as sql:
        crowd, single = await still.tenant(client, "acme"), await still.tenant(client, "bolt")
        for caller in (crowd, single):
            await caller.ingest()
        await fill(sql, (await crowd.accepted(1))["id"], 30_000)
        process_id = (await single.accepted(2))["id"]
        seconds = {}
        for path in ("/v1/processes", f"/v1/processes/{process_id}") * 3:
            begin = time.monotonic()
            await single.ok("GET", path)
            seconds[path] = min(seconds.get(path, 60), time.monotonic() - begin)
        assert seconds["/v1/processes"] < 2 * seconds[f"/v1/processes/{process_id}"], seconds
