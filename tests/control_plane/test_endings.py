"""SIGTERM under load: what is under way is finished or left for others, nothing is lost, and the end comes within the grace."""

import asyncio
import time
from collections.abc import Callable

import httpx
import pytest

from tests.control_plane.commands import Command
from tests.control_plane.driver import Driver
from tests.control_plane.installation import Installation, prepare_topics, running
from tests.control_plane.launcher import following
from tests.control_plane.served import served
from tests.control_plane.waiting import eventually

pytestmark = pytest.mark.security

GRACE_SECONDS = 45
"""`defaults.terminationGracePeriodSeconds` of the chart; tests/helm/test_endings.py compares."""


async def _ends_well(command: Command) -> str:
    begin = time.monotonic()
    command.terminate()
    code, output = await command.ended(GRACE_SECONDS)
    assert (code in (0, -15), "Traceback" in output) == (True, False), output
    assert time.monotonic() - begin < GRACE_SECONDS
    return output


async def test_the_api_says_so_first_finishes_what_it_began_and_takes_no_more(platform: Installation, client: httpx.AsyncClient) -> None:
    caller = await platform.tenant(client)
    headers = {"Authorization": f"Bearer {caller.key}"}
    async with served(platform, drain_seconds=2, database_statement_seconds=15) as api, platform.sql() as sql:
        assert (await api.client.get("/readyz")).status_code == 200
        transaction = sql.transaction()
        await transaction.start()
        await sql.execute("LOCK TABLE api_keys IN ACCESS EXCLUSIVE MODE")
        under_way = asyncio.create_task(api.client.get("/v1/processes", headers=headers))
        await eventually(lambda: _waits(platform), what="the request that waits for the lock")
        ending = asyncio.create_task(_ends_well(api.command))

        async def drains() -> bool:
            answer = await api.client.get("/readyz")
            return answer.status_code == 503 and "ends" in answer.json()["checks"]["service"]

        await eventually(drains, what="readiness that says no")
        assert (await api.client.get("/healthz")).status_code == 200, "it serves on for those who have not heard yet"
        await eventually(lambda: _takes_no_more(api.port), what="the end of new connections")
        assert not under_way.done()
        await transaction.rollback()
        assert (await under_way).status_code == 200
        await ending


async def _waits(platform: Installation) -> bool:
    async with platform.sql() as sql:
        return bool(await sql.fetchval("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'api_keys'::regclass)"))


async def _takes_no_more(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return True
    writer.close()
    return False


async def test_what_the_api_answered_before_its_end_is_stored(platform: Installation, client: httpx.AsyncClient) -> None:
    caller = await platform.tenant(client)
    await caller.ingest()
    accepted: list[str] = []
    numbers = iter(range(1000, 100_000))

    async def post(api: httpx.AsyncClient) -> None:
        while True:
            number = next(numbers)
            body = {
                "entity_id": "cust_8842", "data_version": "v2024.10.05", "action": "filter",
                "parameters": {"condition": f"delay > {number}"}, "output_dataset": f"out-{number}",
            }  # fmt: skip
            try:
                answer = await api.post("/v1/processes", json=body, headers={"Authorization": f"Bearer {caller.key}"})
            except httpx.TransportError:
                return  # no answer, no promise
            assert answer.status_code == 202, answer.text
            accepted.append(answer.json()["id"])

    async with served(platform) as api:
        posting = [asyncio.create_task(post(api.client)) for _ in range(4)]

        async def many() -> bool:
            return len(accepted) >= 20

        await eventually(many, what="load")
        await _ends_well(api.command)
        await asyncio.gather(*posting)
    async with platform.sql() as sql:
        stored = {str(row["id"]) for row in await sql.fetch("SELECT id FROM processes WHERE tenant = $1", caller.tenant)}
    assert set(accepted) <= stored
    assert len(stored) - len(accepted) <= 4, "at most one a connection had no answer"


async def test_the_relay_marks_what_it_has_delivered(still: Installation) -> None:
    prepare_topics(still)
    async with still.api() as client, still.sql() as sql:
        caller = await still.tenant(client)
        await caller.ingest()
        ids = [(await caller.accepted(number))["id"] for number in range(120)]
        with following(still) as launcher:

            def delivered() -> int:
                return len(launcher.received[launcher.topics.commands])

            async def some() -> bool:
                return delivered() > 0

            relay = Command(still, "relay", STRATUM_PUBLISH_BATCH="3", STRATUM_MAX_IN_FLIGHT="100000")
            await eventually(some, 60, "the first messages")
            await _ends_well(relay)
            marked = await sql.fetchval("SELECT count(*) FROM outbox WHERE published_at IS NOT NULL")
            assert marked > 0
            await eventually(lambda: _equal(delivered, marked), what="what was marked")
            relay = Command(still, "relay", STRATUM_MAX_IN_FLIGHT="100000")
            await eventually(lambda: _equal(delivered, len(ids)), 60, "the others")
            await _ends_well(relay)
            assert sorted(ids) == sorted(process_id for process_id in ids if len(launcher.commands(process_id)) == 1), "once each"


async def _equal(count: Callable[[], int], expected: int) -> bool:
    return count() == expected


async def test_the_reconciler_leaves_seals_and_events_for_the_next_one(still: Installation) -> None:
    prepare_topics(still)
    async with still.api() as client, still.sql() as sql:
        caller = await still.tenant(client)
        await caller.ingest()
        with following(still) as launcher, running(still.relay()):
            reconcile = Command(still, "reconcile")
            ids = [(await caller.accepted(number))["id"] for number in range(12)]
            for process_id in ids:
                command = await launcher.command(process_id)
                await launcher.say("submitted", command)
                driver = await Driver(client, still, command).started()
                assert (await driver.finished(await driver.make())).status_code == 200
            sealed = "SELECT count(*) FROM datasets WHERE process_id IS NOT NULL"
            await eventually(lambda: sql.fetchval(f"SELECT ({sealed}) > 0"), 60, "the first seal")
            await _ends_well(reconcile)
            with running(still.reconcile()):
                for process_id in ids:
                    await caller.until(process_id, "succeeded", 60)
                    types = await caller.history(process_id)
                    assert [kind for kind in types if kind != "submitted"] == ["accepted", "queued", "running", "sealing", "succeeded"]


@pytest.mark.parametrize("role", ["relay", "reconcile", "webhooks"])
async def test_a_role_that_waits_for_its_database_ends_too(role: str, still: Installation) -> None:
    away = Installation(**{**still.__dict__, "database_url": "postgresql://nobody@127.0.0.1:9/none"})
    command = Command(away, role)
    await command.says("waiting for the database")
    await _ends_well(command)
