"""Files of retired datasets, after their grace. Manifest and tombstone stay: the name stays taken, whatever becomes of a database."""

import asyncio
from typing import Any

import asyncpg

from contracts.errors import Unreadable
from contracts.layout import DatasetPath, StorageRoot
from contracts.manifest import Manifest
from contracts.pulse import Beat
from contracts.reading import DOCUMENT, read
from contracts.tombstone import Tombstone
from control_plane import metrics
from control_plane.database import queries
from control_plane.errors import ObjectMissing, TooMuch
from control_plane.retirement.tombstones import BadTombstone, put_tombstone
from control_plane.storage import Storage
from control_plane.sweeper.due import is_next, rows_to_sweep
from control_plane.sweeper.isolation import apart
from control_plane.sweeper.sweeper import Sweeper
from control_plane.sweeper.tally import NOT_ASKED, Kind, Size, Tally

_NAME = ("tenant", "entity_id", "data_version", "dataset")
NAMES_IN_ORDER = ("retired_at", *_NAME)


async def sweep_retired(sweeper: Sweeper, tally: Tally) -> None:
    """Remove the files of datasets that were retired long enough ago and that no active process reads."""
    grace = sweeper.settings.retire_grace_seconds
    if tally.remove:
        async for row in rows_to_sweep(sweeper, queries.retired_to_remove, *NAMES_IN_ORDER, grace_seconds=grace):
            if is_next(sweeper, tally, row["tenant"], Kind.RETIRED):
                with sweeper.turns.of(row["tenant"], Kind.RETIRED), apart(tally, row["tenant"], Kind.RETIRED):
                    await _take(sweeper, tally, row)
    async with sweeper.database.connection() as connection:
        states = [state async for state in queries.retired_by_state(connection, grace_seconds=grace)]
    for state in states:
        if not (tally.remove and state["due"] and not state["is_read"]):  # those were counted one by one
            tally.found(Kind.RETIRED, Size(bytes=state["bytes"]), state["number"])
            tally.kept(Kind.RETIRED, _why_kept(state), state["number"])


async def _take(sweeper: Sweeper, tally: Tally, row: dict[str, Any]) -> None:
    outcome = await asyncio.to_thread(_remove, sweeper.storage, row, sweeper.turns.beat)
    tally.found(Kind.RETIRED, outcome if isinstance(outcome, Size) else Size(bytes=row["bytes"]))
    if isinstance(outcome, str):
        tally.kept(Kind.RETIRED, outcome)
        return
    name: dict[str, Any] = {field: row[field] for field in _NAME}
    async with sweeper.database.connection() as connection:
        await queries.files_removed(connection, **name, objects=outcome.objects, bytes=outcome.bytes)
    metrics.SWEPT.inc(outcome.objects)
    tally.removed(Kind.RETIRED, outcome, row["location"])


def _why_kept(state: asyncpg.Record) -> str:
    if not state["due"]:
        return "the grace after its retirement is not over"
    return "an active process reads it" if state["is_read"] else NOT_ASKED


def _remove(storage: Storage, row: dict[str, Any], beat: Beat) -> Size | str:
    """Remove the run's folder; or why not. What is removed is named by the manifest that was retired, and by nothing else."""
    path = StorageRoot(row["bucket"], row["prefix"]).dataset(row["entity_id"], row["data_version"], row["dataset"])
    facts = {field: row[field] for field in (*_NAME, "manifest_sha256", "retired_at", "retired_by", "reason")}
    try:
        put_tombstone(storage, path, Tombstone(**facts))
    except BadTombstone as error:
        return str(error)
    if not _is_named_by_store(storage, path, row["run_id"]):
        return "the manifest in the store names another run than the registry, or cannot be read"
    size = Size()
    for page in storage.pages(path.root.bucket, path.run_prefix(row["run_id"])):
        beat()
        storage.delete(path.root.bucket, [item.key for item in page])
        size += Size(len(page), sum(item.size for item in page))
    return size


def _is_named_by_store(storage: Storage, path: DatasetPath, run_id: str) -> bool:
    try:
        return read(Manifest, storage.get(path.root.bucket, path.manifest_key), DOCUMENT).run_id == run_id
    except ObjectMissing:
        return True  # nobody else's, then
    except (Unreadable, TooMuch):
        return False
