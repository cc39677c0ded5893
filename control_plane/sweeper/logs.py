"""Driver output of processes that ended long ago, by an explicit policy alone."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby, islice
from uuid import UUID

from contracts.layout import StorageRoot
from control_plane.database import queries
from control_plane.storage import ObjectInfo
from control_plane.sweeper.sweeper import Sweeper
from control_plane.sweeper.tally import NOT_ASKED, Kind, Size, Tally

_AT_ONCE = 100
_PIECE = 250


@dataclass(frozen=True, slots=True)
class _Log:
    process_id: UUID
    keys: tuple[str, ...]
    size: Size
    newest: datetime


async def sweep_logs(sweeper: Sweeper, tally: Tally, tenant: str, root: StorageRoot) -> None:
    """Remove the logs of processes that ended before the policy's life; of a process that no row knows, by the age of its log."""
    if sweeper.settings.log_seconds is None:
        return
    ended_before = await sweeper.now() - timedelta(seconds=sweeper.settings.log_seconds)
    logs = _logs(root, sweeper)
    while batch := await asyncio.to_thread(lambda: list(islice(logs, _AT_ONCE))):
        async with sweeper.database.connection() as connection:
            ids = [log.process_id for log in batch]
            ended = {row["id"]: row["ended_at"] async for row in queries.log_owners(connection, tenant=tenant, ids=ids)}
        for log in batch:
            sweeper.turns.step()
            over = ended.get(log.process_id, log.newest)
            if over is not None and over < ended_before:
                await _take(sweeper, tally, root, log)


async def _take(sweeper: Sweeper, tally: Tally, root: StorageRoot, log: _Log) -> None:
    tally.found(Kind.LOG, log.size)
    if not tally.remove:
        tally.kept(Kind.LOG, NOT_ASKED)
        return
    for begin in range(0, len(log.keys), _PIECE):
        sweeper.turns.beat()
        await asyncio.to_thread(sweeper.storage.delete, root.bucket, log.keys[begin : begin + _PIECE])
    tally.removed(Kind.LOG, log.size, f"s3://{root.bucket}/{root.logs_prefix}{log.process_id}/")


def _logs(root: StorageRoot, sweeper: Sweeper) -> Iterator[_Log]:
    def process_of(item: ObjectInfo) -> str:
        return item.key.removeprefix(root.logs_prefix).split("/", 1)[0]

    for name, group in groupby(sweeper.walk(root.bucket, root.logs_prefix), key=process_of):
        items = list(group)
        try:
            process_id = UUID(name)
        except ValueError:
            continue
        size = Size(len(items), sum(item.size for item in items))
        yield _Log(process_id, tuple(item.key for item in items), size, max(item.modified_at for item in items))
