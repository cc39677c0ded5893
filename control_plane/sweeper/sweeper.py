"""The parts that every kind of sweeping works with."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import asyncpg

from control_plane.database import Database, queries
from control_plane.settings import LeftoverSettings, ReconcileSettings
from control_plane.storage import ObjectInfo, Storage
from control_plane.sweeper.turns import SweepTurns


@dataclass(frozen=True, slots=True)
class Sweeper:
    """Settings, database, store, and whose turn it is."""

    settings: ReconcileSettings | LeftoverSettings
    database: Database
    storage: Storage
    turns: SweepTurns = field(default_factory=SweepTurns)

    @property
    def grace(self) -> timedelta:
        """Added to a run's time limit, or an upload's expiry."""
        return timedelta(seconds=self.settings.sweep_grace_seconds)

    def walk(self, bucket: str, prefix: str, after: str = "") -> Iterator[ObjectInfo]:
        """All objects under a prefix and behind a key, page by page. Blocking."""
        for page in self.storage.pages(bucket, prefix, after):
            self.turns.beat()
            yield from page

    async def now(self) -> datetime:
        """Database time."""
        async with self.database.connection() as connection:
            now: datetime = await queries.database_time(connection)
            return now

    async def unknown_grace(self) -> timedelta:
        """Age of what nobody knows the maker of: never less than the longest run that the database has seen may take, and the grace."""
        async with self.database.connection() as connection:
            longest = timedelta(seconds=await queries.longest_time_limit(connection))
        return max(timedelta(seconds=self.settings.sweep_unknown_grace_seconds), self.grace + longest)

    async def tenants(self) -> list[asyncpg.Record]:
        """Every tenant with its bucket and prefix."""
        async with self.database.connection() as connection:
            return [row async for row in queries.sweep_tenants(connection)]
