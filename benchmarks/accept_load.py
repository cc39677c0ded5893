"""1,000 POST/s for a minute to a real platform, whose database and broker are killed meanwhile: every 202 is there afterwards, once.

    python -m benchmarks.accept_load [--rate 1000] [--seconds 60]

The relay is stopped (SIGSTOP), so admission holds all that is accepted and no Spark starts. A 503, or no answer at all, is sent again as
a client should: after `Retry-After`. The same load then goes to a bare handler (no framework, five INSERTs, the same database), and both
rates are printed. In the end all that is held is cancelled.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg

from benchmarks.bare_handler import bare_handler
from benchmarks.raw_http import RawConnection
from tests.e2e.platform import Platform, running_platform

CONNECTIONS = 64
ENTITY, VERSION = "load", "v1"


@dataclass
class Load:
    """What was asked, and what was answered."""

    offered: int
    seconds: float = 0
    statuses: Counter[str] = field(default_factory=Counter)
    late: list[float] = field(default_factory=list)
    bodies: dict[int, bytes] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Requests that were taken, each second."""
        return len(self.bodies) / self.seconds

    def quantile(self, part: float) -> float:
        """Seconds from the moment a request was due to its answer."""
        return sorted(self.late)[min(int(len(self.late) * part), len(self.late) - 1)]

    def __str__(self) -> str:
        answers = ", ".join(f"{count} x {status}" for status, count in sorted(self.statuses.items()))
        return f"{self.rate:8.0f} POST/s; median {self.quantile(0.5):.3f} s, 99 % within {self.quantile(0.99):.3f} s; {answers}"


async def offer(url: str, token: str, rate: float, requests: list[tuple[str, bytes]], good: set[int]) -> Load:
    """Send each request when it is due, whatever became of those before it, and again until its status is among `good`."""
    load = Load(len(requests))
    begin = time.perf_counter()
    numbers = iter(range(len(requests)))

    async def worker() -> None:
        connection = RawConnection(url, token)
        for number in numbers:
            due = begin + number / rate
            await asyncio.sleep(max(due - time.perf_counter(), 0))
            load.bodies[number] = await _until_taken(connection, *requests[number], good, load.statuses)
            load.late.append(time.perf_counter() - due)
        connection.close()

    async with asyncio.TaskGroup() as workers:
        for _ in range(CONNECTIONS):
            workers.create_task(worker())
    load.seconds = time.perf_counter() - begin
    return load


async def _until_taken(connection: RawConnection, path: str, body: bytes, good: set[int], statuses: Counter[str]) -> bytes:
    while True:
        try:
            answer = await connection.post(path, body)
        except (OSError, TimeoutError, EOFError):
            statuses["no answer"] += 1
            await asyncio.sleep(0.5)
            continue
        statuses[str(answer.status)] += 1
        if answer.status in good:
            return answer.body
        if answer.status != 503:
            raise AssertionError(f"{path} was answered {answer.status}: {answer.body.decode()[:500]}")
        await asyncio.sleep(answer.retry_after or 1)


def requests(number: int) -> list[tuple[str, bytes]]:
    """Work that is different in each."""
    base = {"entity_id": ENTITY, "data_version": VERSION, "action": "filter", "parameters": {"condition": "a > 0"}}
    return [("/v1/processes", json.dumps({**base, "output_dataset": f"load-{n}"}).encode()) for n in range(number)]


async def accepted_load(platform: Platform, rate: float, seconds: float) -> Load:
    """The load, with a death of the database and of the broker in it. Asserts that nothing was lost and nothing made twice."""
    document, number = platform.document, int(rate * seconds)
    os.kill(document["pids"]["relay"], signal.SIGSTOP)
    try:
        kills = asyncio.create_task(_kill(document["pids"], seconds))
        load = await offer(document["url"], document["token"], rate, requests(number), {200, 202})
        await kills
        ids = [str(json.loads(load.bodies[n])["id"]) for n in range(number)]
        await _assert_all_there(document["database_url"], ids)
        cancels = [(f"/v1/processes/{process_id}/cancel", b"") for process_id in ids]
        await offer(document["url"], document["token"], rate, cancels, {200, 202, 409})
        await _assert_all_cancelled(document["database_url"], ids)
    finally:
        os.kill(document["pids"]["relay"], signal.SIGCONT)
    return load


async def _kill(pids: dict[str, int], seconds: float) -> None:
    for part in ("postgres", "kafka"):
        await asyncio.sleep(seconds / 3)
        os.kill(pids[part], signal.SIGKILL)


async def _assert_all_there(database_url: str, ids: list[str]) -> None:
    assert len(set(ids)) == len(ids), "two requests for different work were given the same process"
    async with _connected(database_url) as sql:
        there = await sql.fetch("SELECT id::text, output_dataset FROM processes WHERE entity_id = $1", ENTITY)
        assert sorted(row["id"] for row in there) == sorted(ids), f"{len(ids)} were answered 202, {len(there)} are there"
        assert len({row["output_dataset"] for row in there}) == len(ids)
        for table in ("steps", "attempts", "outbox", "claims"):
            count = await sql.fetchval(f"SELECT count(*) FROM {table} WHERE process_id = ANY($1::uuid[])", ids)  # noqa: S608 - fixed names
            assert count == len(ids), f"{count} {table} for {len(ids)} processes"


async def _assert_all_cancelled(database_url: str, ids: list[str]) -> None:
    async with _connected(database_url) as sql:
        states = await sql.fetch("SELECT state, count(*) AS n FROM processes WHERE id = ANY($1::uuid[]) GROUP BY state", ids)
        assert [(row["state"], row["n"]) for row in states] == [("cancelled", len(ids))], [tuple(row) for row in states]
        assert await sql.fetchval("SELECT count(*) FROM claims WHERE process_id = ANY($1::uuid[])", ids) == 0


class _connected:
    """A connection to a database that may be starting still."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def __aenter__(self) -> asyncpg.Connection:
        deadline = time.monotonic() + 60
        while True:
            try:
                self._sql = await asyncpg.connect(self._url)
            except (OSError, asyncpg.PostgresError):
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.2)
            else:
                return self._sql

    async def __aexit__(self, *_: Any) -> None:
        await self._sql.close()


async def bare_load(platform: Platform, rate: float, seconds: float) -> Load:
    """The same load on the bare handler."""
    async with bare_handler(platform.document["database_url"]) as url:
        return await offer(url, "none", rate, requests(int(rate * seconds)), {202})


def prepare(platform: Platform, folder: Path) -> None:
    """The data that the load asks about."""
    (folder / "load.csv").write_text("a\n1\n")
    platform.cli("ingest", ENTITY, VERSION, str(folder / "load.csv"))


def measured(run: Callable[[Platform, float, float], Awaitable[Load]], platform: Platform, rate: float, seconds: float) -> Load:
    """Run a load to its end."""

    async def main() -> Load:
        return await run(platform, rate, seconds)

    return asyncio.run(main())


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=1000)
    parser.add_argument("--seconds", type=float, default=60)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, running_platform(Path(folder) / "home") as platform:
        prepare(platform, Path(folder))
        load = measured(accepted_load, platform, chosen.rate, chosen.seconds)
        print(f"offered {chosen.rate:8.0f} POST/s for {chosen.seconds:g} s, PostgreSQL and Kafka killed once each")
        print(f"Stratum {load}", flush=True)
        bare = measured(bare_load, platform, 10 * chosen.rate, chosen.seconds / 10)
        print(f"bare    {bare}")
        print(f"ratio   {load.rate / bare.rate:8.2f} of the bare handler's rate; all {load.offered} are there once, and were cancelled")
    return 0


if __name__ == "__main__":
    sys.exit(main())
