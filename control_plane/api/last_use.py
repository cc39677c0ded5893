"""When keys were last used: noted beside the requests, never in their way."""

import asyncio
import time
from uuid import UUID

import asyncpg
import structlog

from control_plane.database import Database, queries
from control_plane.errors import ControlPlaneError

log = structlog.get_logger()
NOTE_SECONDS = 60.0
"""A key's use is written at most so often."""


class LastUse:
    """Writes `last_used_at` in the background. A note that fails is logged; the next use after `NOTE_SECONDS` makes another."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._noted_at: dict[UUID, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def note(self, key_id: UUID) -> None:
        """The key was used just now. Returns at once."""
        now = time.monotonic()
        if now - self._noted_at.get(key_id, float("-inf")) < NOTE_SECONDS:
            return
        self._noted_at[key_id] = now
        task = asyncio.create_task(self._write(key_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Wait for the notes under way: the database bounds how long they take."""
        await asyncio.gather(*self._tasks)

    async def _write(self, key_id: UUID) -> None:
        try:
            async with self._database.connection() as connection:
                await queries.note_key_use(connection, id=key_id)
        except (ControlPlaneError, asyncpg.PostgresError) as error:
            log.warning("the use of a key could not be noted", key_id=str(key_id), error=str(error))
