"""What the second wall costs a submission, and what 10,000 waiting processes cost admission; before and after in the same run.

    python -m benchmarks.isolation [--posts 200] [--waiting 10000]

The API runs inside this process, PostgreSQL and the object store beside it, as on one machine. "Before" is the same code without entering
the tenant; for admission, the view of the first migration. Rounds alternate, the median counts, and ratios say more than figures.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import control_plane
from control_plane import quotas
from control_plane.database import Connection, Database, queries
from stratum.local.services import running_services
from tests.control_plane.caller import Caller
from tests.control_plane.filling import fill
from tests.control_plane.installation import Installation, create_database, write_signing_key
from tests.services import addresses

ROUNDS = 5
WORKERS = 8


async def posts(caller: Caller, first: int, number: int) -> float:
    """Submissions a second, `WORKERS` at once."""
    numbers = iter(range(first, first + number))

    async def work() -> None:
        for each in numbers:
            await caller.accepted(each)

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(WORKERS)))
    return number / (time.perf_counter() - began)


@asynccontextmanager
async def _unconfined(self: Database, tenant: str) -> AsyncIterator[Connection]:
    async with self.transaction() as connection:
        yield connection


async def _unjudged(*_: object) -> None:
    """No look at quotas."""


async def submissions(installation: Installation, number: int) -> None:
    """Rounds with and without the wall, and without the look at quotas too; on an empty queue each."""
    rates: dict[str, list[float]] = {"before": [], "with the wall": [], "with wall and quotas": []}
    async with installation.api() as client, installation.sql() as sql:
        caller = await installation.tenant(client)
        await caller.ingest()
        await posts(caller, 0, number)  # warm
        for turn in range(1, ROUNDS + 1):
            for place, (name, found) in enumerate(rates.items()):
                await sql.execute("UPDATE processes SET state = 'cancelled', ended_at = now() WHERE state = 'accepted'")
                await sql.execute("DELETE FROM claims")
                first = (turn * len(rates) + place) * number
                with (
                    patch.object(Database, "tenant", _unconfined if name == "before" else Database.tenant),
                    patch.object(quotas, "check_process", quotas.check_process if name == "with wall and quotas" else _unjudged),
                ):
                    found.append(await posts(caller, first, number))
    base = statistics.median(rates["before"])
    for name, found in rates.items():
        middle = statistics.median(found)
        each = " ".join(f"{rate:.0f}" for rate in found)
        print(f"POST /v1/processes, {name:22} {middle:7.0f}/s   {middle / base:5.2f} of before   rounds {each}")


async def admission(installation: Installation, waiting: int) -> None:
    """Times of single statements with many waiting."""
    async with installation.api() as client, installation.sql() as sql:
        crowd, single = await installation.tenant(client), await installation.tenant(client)
        for caller in (crowd, single):
            await caller.ingest()
        ids = await fill(sql, (await crowd.accepted(1))["id"], waiting - 2)
        last = (await single.accepted(1))["id"]
        script = (Path(control_plane.__file__).parent / "migrations" / "versions" / "0001_initial.sql").read_text()
        view = script[script.index("CREATE VIEW admission_queue") : script.index("-- A process as the API shows it")]
        await sql.execute(view.replace("admission_queue", "queue_before"))

        async def released(most: int) -> None:
            transaction = sql.transaction()
            await transaction.start()
            await queries.release(sql, max_in_flight=most)
            await transaction.rollback()

        cases: dict[str, Callable[[], Awaitable[object]]] = {
            "place of one, before": lambda: sql.fetchrow("SELECT * FROM queue_before WHERE process_id = $1", last),
            "place of one": lambda: sql.fetchrow("SELECT * FROM queue_place($1)", last),
            "places of a page of 50": lambda: sql.fetch("SELECT * FROM queue_places($1)", ids[-50:]),
            "head of the queue for 1, before": lambda: sql.fetch(
                "SELECT process_id FROM queue_before WHERE within_tenant_cap AND due ORDER BY place LIMIT 1"
            ),
            "release, room for 1": lambda: released(1),
            "release, room for 200": lambda: released(200),
            "release, no room": lambda: released(0),
            "GET /v1/processes/{id}": lambda: single.process(last),
            "GET /v1/processes?limit=50": lambda: crowd.ok("GET", "/v1/processes?limit=50"),
        }
        for name, ask in cases.items():
            print(f"{waiting} waiting, {name:34} {await _median_ms(ask):8.1f} ms")


async def _median_ms(ask: Callable[[], Awaitable[object]]) -> float:
    times = []
    for _ in range(15):
        began = time.perf_counter()
        await ask()
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1000


async def measure(installation: Installation, number: int, waiting: int) -> None:
    """Both, each in a database of its own."""
    await submissions(installation, number)
    await admission(replace(installation, database_url=await create_database(installation.database_url)), waiting)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--posts", type=int, default=200)
    parser.add_argument("--waiting", type=int, default=10_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, running_services(Path(folder) / "services") as (services, _):
        where = addresses(services)
        url = asyncio.run(create_database(where.database_url))
        keys = (where.s3_endpoint, where.s3_access_key, where.s3_secret_key)
        key_file = write_signing_key(Path(folder) / "key.pem")
        installation = Installation(url, where.kafka_bootstrap, *keys, "bench", key_file)
        asyncio.run(measure(installation, asked.posts, asked.waiting))


if __name__ == "__main__":
    main()
