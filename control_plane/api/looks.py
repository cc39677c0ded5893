"""What probes and Prometheus ask for. It is looked up once a second at most: they send no credential, so anyone may ask."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from control_plane import metrics
from control_plane.database import Database, queries
from control_plane.storage import Storage
from control_plane.webhooks import metrics as webhook_metrics

SECONDS = 1.0
T = TypeVar("T")


class Look(Generic[T]):
    """A question whose answer, or failure, is given to all who ask within a second of it."""

    def __init__(self, ask: Callable[[], Awaitable[T]]) -> None:
        self._ask = ask
        self._asking: asyncio.Task[T] | None = None
        self._answered_at = 0.0

    async def __call__(self) -> T:
        """The answer: a new one, or the last one if it is young."""
        asking = self._asking
        if asking is None or (asking.done() and time.monotonic() - self._answered_at > SECONDS):
            asking = self._asking = asyncio.ensure_future(self._answer())
        return await asyncio.shield(asking)  # one who goes away does not take the answer from the others

    async def _answer(self) -> T:
        try:
            return await self._ask()
        finally:
            self._answered_at = time.monotonic()


class Looks:
    """The questions of one API replica."""

    def __init__(self, database: Database, storage: Storage) -> None:
        self._database = database
        self._storage = storage
        self.database = Look(self._ask_database)
        self.storage = Look(self._ask_storage)
        self.gauges = Look(self._read_gauges)

    async def _ask_database(self) -> None:
        async with self._database.connection() as connection:
            await queries.database_time(connection)

    async def _ask_storage(self) -> None:
        await asyncio.wait_for(asyncio.to_thread(self._storage.ping), timeout=5)

    async def _read_gauges(self) -> None:
        async with self._database.connection() as connection:
            await metrics.refresh(connection)
            await webhook_metrics.refresh(connection)
