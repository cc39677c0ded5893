"""A small installation for chaos: real roles, a wire before each server they use, and a fleet that runs what they send."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import uvicorn

from control_plane.api.app import create_app
from stratum.local.ports import choose_port
from tests.chaos.fleet import Fleet
from tests.chaos.ledger import Ledger
from tests.chaos.network import Network
from tests.chaos.oracle import Evidence, violations
from tests.chaos.parts import Part
from tests.chaos.wire import Wire
from tests.control_plane.caller import Caller
from tests.control_plane.hooked import LOCAL
from tests.control_plane.installation import Installation, Role, prepare_topics, running
from tests.control_plane.launcher import Launcher, following
from tests.control_plane.waiting import eventually

SETTLE_SECONDS = 90.0
"""So long that only what will never happen is not seen: a seal lease and a consumer's session are ten seconds each."""
QUICK: dict[str, Any] = {"lease_seconds": 60.0, "database_pool_size": 4, **LOCAL}


@dataclass
class Stage:
    """`installation`: past the wires, for the test itself. `wires`: `api_postgres`, `relay_kafka`, …"""

    installation: Installation
    network: Network
    caller: Caller
    fleet: Fleet
    launcher: Launcher
    ledger: Ledger
    sql: asyncpg.Connection
    relay: Part
    reconcile: Part
    folder: Path
    evidence: Counter[str] = field(default_factory=Counter)

    def saw(self, number: int, what: str) -> None:
        """Evidence that the fault was there: so many of them. None at all fails the test."""
        assert number > 0, f"no sign of the fault: {number} × {what}"
        self.evidence[what] += number

    def forget(self) -> None:
        """Begin anew to count, and to look for evidence."""
        self.evidence = Counter()
        self.network.forget()
        for part in (self.relay, self.reconcile):
            part.forget()

    def wire(self, name: str) -> Wire:
        return self.network.wires[name]

    async def now(self) -> datetime:
        """The time, by the database."""
        now: datetime = await self.sql.fetchval("SELECT clock_timestamp()")
        return now

    async def accept(self, number: int = 1, first: int = 0, **fields: str) -> list[str]:
        """POST so many processes, each until it is answered; returns their ids."""
        ids = []
        for place in range(first, first + number):
            while True:
                try:
                    answer = await self.caller.run(place, output_dataset=f"filtered-{place}", **fields)
                except httpx.TransportError:
                    await asyncio.sleep(0.05)
                    continue
                if answer.status_code in (200, 202):
                    break
                assert answer.status_code == 503, answer.text
            ids.append(str(answer.json()["id"]))
        self.ledger.accepted += ids
        return ids

    async def settled(self, process_ids: list[str], seconds: float = SETTLE_SECONDS) -> None:
        """Wait until all have ended and nothing is left to publish, or until the time is over: then the oracle says so."""
        query = """SELECT count(*) = $2 AND NOT EXISTS (
            SELECT FROM outbox WHERE process_id = ANY($1::uuid[]) AND released_at IS NOT NULL AND published_at IS NULL)
            FROM processes WHERE id = ANY($1::uuid[]) AND ended_at IS NOT NULL"""
        try:
            await eventually(lambda: self.sql.fetchval(query, process_ids, len(process_ids)), seconds, "the end of all processes")
        except AssertionError:
            return

    async def verdict(self, process_ids: list[str], seconds: float = SETTLE_SECONDS, *, once: bool = False) -> list[str]:
        """What the oracle has to say, once all has come to rest."""
        await self.settled(process_ids, seconds)
        mine = [m.value() for m in list(self.launcher.received[self.launcher.topics.commands])]
        return await violations(Evidence(self.sql, self.installation.s3, mine, self.ledger), process_ids, once=once)

    async def history(self, process_id: str) -> list[str]:
        """The types of all events."""
        rows = await self.sql.fetch("SELECT type FROM events WHERE process_id = $1 ORDER BY sequence", process_id)
        return [row["type"] for row in rows]


def _wires(network: Network, installation: Installation) -> None:
    for role in ("api", "relay", "reconcile"):
        network.wire(f"{role}_postgres", installation.database_url)
    for role in ("relay", "reconcile"):
        network.wire(f"{role}_kafka", installation.kafka_bootstrap, kafka=True)
    for role in ("api", "reconcile", "run"):
        network.wire(f"{role}_s3", installation.s3_endpoint)


def behind(installation: Installation, network: Network, role: str) -> Installation:
    """The installation as a role sees it: by its wires."""

    def by(url: str, name: str) -> str:
        wire = network.wires.get(f"{role}_{name}")
        return url if wire is None else url.replace(f"{wire.target[0]}:{wire.target[1]}", wire.address)

    return replace(
        installation,
        database_url=by(installation.database_url, "postgres"),
        kafka_bootstrap=by(installation.kafka_bootstrap, "kafka"),
        s3_endpoint=by(installation.s3_endpoint, "s3"),
    )


@asynccontextmanager
async def serving(installation: Installation, port: int) -> AsyncIterator[str]:
    """The API on a real port; its URL."""
    config = uvicorn.Config(create_app(installation.api_settings), host="127.0.0.1", port=port, log_config=None, access_log=False)
    server = uvicorn.Server(config)

    async def serve(stop: asyncio.Event) -> None:
        task = asyncio.create_task(server._serve())  # `serve` would take the signals of the test run
        await stop.wait()
        server.should_exit = True
        await task

    async def started() -> bool:
        return server.started

    role = Role(serve)
    await asyncio.to_thread(role.start)
    try:
        await eventually(started, 60, "the API")
        yield f"http://127.0.0.1:{port}"
    finally:
        await asyncio.to_thread(role.stop)


@contextmanager
def ended(*parts: Part) -> Iterator[None]:
    """Parts that are gone after the block."""
    try:
        yield
    finally:
        for part in parts:
            part.kill()


@asynccontextmanager
async def staged(installation: Installation, folder: Path, *, clock: float = 0, in_threads: bool = False) -> AsyncIterator[Stage]:
    """Everything up. `clock`: what the clocks of relay and reconciler are wrong by.

    `in_threads`: relay and reconciler run inside the test, where a guard can be taken out of them.
    """
    installation = installation.but(**QUICK)
    await asyncio.to_thread(prepare_topics, installation)
    async with AsyncExitStack() as stack:
        network = stack.enter_context(Network.running())
        _wires(network, installation)
        url = await stack.enter_async_context(serving(behind(installation, network, "api"), choose_port(set())))
        network.wire("run_api", url)
        launcher = stack.enter_context(following(installation))
        caller_client = await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=30))
        run_url = f"http://{network.wires['run_api'].address}"
        run_client = await stack.enter_async_context(httpx.AsyncClient(base_url=run_url, timeout=5))
        sql = await stack.enter_async_context(installation.sql())
        caller = await installation.tenant(caller_client)
        await caller.ingest()
        ledger = Ledger()
        fleet = Fleet(launcher, run_client, installation, ledger)
        relay, reconcile = (
            Part(role, behind(installation, network, role).environment, folder / f"{role}.log", clock) for role in ("relay", "reconcile")
        )
        if in_threads:
            roles = (behind(installation, network, "relay").relay(), behind(installation, network, "reconcile").reconcile())
            stack.enter_context(running(*roles))
        else:
            stack.enter_context(ended(relay, reconcile))
            await relay.restart()
            await reconcile.restart()
        work = asyncio.create_task(fleet.work())
        try:
            yield Stage(installation, network, caller, fleet, launcher, ledger, sql, relay, reconcile, folder)
        finally:
            await asyncio.to_thread(network.heal)
            work.cancel()
            (end,) = await asyncio.gather(work, return_exceptions=True)
            if isinstance(end, Exception):
                raise end
