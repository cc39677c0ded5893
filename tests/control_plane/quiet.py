"""Work in an installation in which nothing runs: the test takes the place of relay and launcher, and calls the sealer itself."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import httpx

from contracts.command import Command
from contracts.topics import Topics
from control_plane.database import Database, queries
from control_plane.relay import outgoing
from control_plane.sealing import seal_next
from control_plane.settings import LeftoverSettings
from control_plane.storage import Storage
from control_plane.sweeper.sweeper import Sweeper
from tests.control_plane.caller import Caller
from tests.control_plane.driver import Driver
from tests.control_plane.installation import Installation
from tests.control_plane.waiting import eventually


class Quiet:
    """One tenant's work, step by step."""

    def __init__(self, installation: Installation, client: httpx.AsyncClient, caller: Caller) -> None:
        self.installation = installation
        self.client = client
        self.caller = caller

    async def granted(self, number: int = 1, **fields: Any) -> Driver:
        """A run that was granted a new process's attempt."""
        return await self.driver_of((await self.caller.accepted(number, **fields))["id"])

    async def driver_of(self, process_id: str) -> Driver:
        """A run that was granted the process's present attempt."""
        return await Driver(self.client, self.installation, await self.command(process_id)).started()

    async def command(self, process_id: str) -> Command:
        """The command of an accepted process, as the relay would publish it."""
        database = Database(self.installation.api_settings)
        try:
            async with database.connection() as connection:
                await queries.release(connection, max_in_flight=1000)
                rows = [row async for row in queries.ready_messages(connection, limit=1000)]
        finally:
            await database.close()
        row = max((row for row in rows if str(row["process_id"]) == process_id), key=lambda row: row["attempt"])
        return Command.model_validate_json(outgoing(row, Topics("x"), self.installation.keys, "http://stratum.test/v1").value)

    async def complete(self, number: int = 1, **fields: Any) -> Driver:
        """A run whose files are complete, before its seal."""
        driver = await self.granted(number, **fields)
        answer = await driver.finished(await driver.make())
        assert answer.json()["state"] == "sealing"
        return driver

    async def sealed(self, number: int = 1, **fields: Any) -> Driver:
        """A run whose dataset is sealed."""
        driver = await self.complete(number, **fields)
        await self.seal()
        process = await self.caller.process(str(driver.command.process_id))
        assert process["state"] == "succeeded", process["reason"]
        return driver

    async def seal(self) -> None:
        """Seal what is to be sealed."""
        async with self.installation.reconciler() as reconciler:
            while await seal_next(reconciler):
                continue

    async def until_it_waits(self, work: asyncio.Future[Any]) -> None:
        """Until a lock of the database holds up the work, or the work is done because none does."""
        held = "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        async with self.installation.sql() as sql:

            async def look() -> bool:
                return work.done() or bool(await sql.fetchval(held))

            await eventually(look, what="the lock")


class Later(Sweeper):
    """A sweeper whose look at the store takes place eight days from now: no object can be made old."""

    async def now(self) -> datetime:
        return await super().now() + timedelta(days=8)


def leftover_settings(installation: Installation, **changes: Any) -> LeftoverSettings:
    """Settings of the commands."""
    known = installation.reconcile_settings.model_dump()
    known["s3_secret_key"] = installation.s3_secret_key
    return LeftoverSettings(**{name: value for name, value in {**known, **changes}.items() if name in LeftoverSettings.model_fields})


def sweeper(kind: type[Sweeper], installation: Installation, storage: Storage | None = None, **changes: Any) -> Sweeper:
    """A sweeper of that kind. Its database is to be closed by the test."""
    settings = leftover_settings(installation, **changes)
    return kind(settings, Database(settings), storage or Storage(settings))
