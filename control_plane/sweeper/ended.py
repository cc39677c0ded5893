"""Folders of runs and uploads that the database knows to be over. Cheap: no listing but of those folders."""

import asyncio
from typing import Any

from contracts.layout import DatasetPath, StorageRoot
from control_plane.database import queries
from control_plane.sweeper.removal import Kept, Removed, remove_folder
from control_plane.sweeper.sweeper import Sweeper
from control_plane.sweeper.tally import NOT_ASKED, Kind, Size, Tally

_BATCH = 100
_MOST_REPORTED = 100_000


async def expire_uploads(sweeper: Sweeper) -> None:
    """Free the names of uploads that were never sealed."""
    async with sweeper.database.connection() as connection:
        expired = [row["id"] async for row in queries.expired_uploads(connection)]
    for upload_id in expired:
        async with sweeper.database.connection() as connection:
            await queries.close_upload(connection, id=upload_id, state="expired")


async def sweep_runs(sweeper: Sweeper, tally: Tally) -> bool:
    """Runs whose attempt ended without a dataset. Returns whether there are more."""
    limit = _BATCH if tally.remove else _MOST_REPORTED
    async with sweeper.database.connection() as connection:
        grace = sweeper.settings.sweep_grace_seconds
        rows = [dict(row) async for row in queries.runs_to_sweep(connection, grace_seconds=grace, limit=limit)]
    for row in rows:
        outcomes = [
            await _take(sweeper, tally, Kind.RUN_FOLDER, row, row["output_data_version"], name, row["run_id"])
            for name in filter(None, (row["output_dataset"], row["rejected_dataset"]))
        ]
        if tally.remove and not any(isinstance(outcome, Kept) and outcome.passing for outcome in outcomes):
            async with sweeper.database.connection() as connection:
                await queries.mark_swept(connection, process_id=row["process_id"], step=row["step"], attempt=row["attempt"])
    return tally.remove and len(rows) == limit and tally.anything_removed


async def sweep_uploads(sweeper: Sweeper, tally: Tally) -> bool:
    """Uploads that expired, were given up or were refused. Returns whether there are more."""
    limit = _BATCH if tally.remove else _MOST_REPORTED
    async with sweeper.database.connection() as connection:
        grace = sweeper.settings.sweep_grace_seconds
        rows = [dict(row) async for row in queries.uploads_to_sweep(connection, grace_seconds=grace, limit=limit)]
    for row in rows:
        outcome = await _take(sweeper, tally, Kind.UPLOAD, row, row["data_version"], row["dataset"], str(row["id"]))
        if tally.remove and not (isinstance(outcome, Kept) and outcome.passing):
            async with sweeper.database.connection() as connection:
                await queries.mark_upload_swept(connection, id=row["id"])
    return tally.remove and len(rows) == limit and tally.anything_removed


async def _take(
    sweeper: Sweeper, tally: Tally, kind: Kind, row: dict[str, Any], data_version: str, dataset: str, run_id: str
) -> Removed | Kept | None:
    path = StorageRoot(row["bucket"], row["prefix"]).dataset(row["entity_id"], data_version, dataset)
    if tally.remove:
        outcome = await remove_folder(sweeper, row["tenant"], path, run_id)
        count(tally, kind, path, run_id, outcome)
        return outcome
    objects = await asyncio.to_thread(sweeper.storage.list, path.root.bucket, path.run_prefix(run_id))
    if objects:
        tally.found(kind, Size(len(objects), sum(item.size for item in objects)))
        tally.kept(kind, NOT_ASKED)
    return None


def count(tally: Tally, kind: Kind, path: DatasetPath, run_id: str, outcome: Removed | Kept) -> None:
    """Take what became of a folder into the figures. A folder that was empty is nothing."""
    if isinstance(outcome, Kept):
        tally.found(kind, Size())
        tally.kept(kind, outcome.why)
    elif outcome.size.objects:
        tally.found(kind, outcome.size)
        tally.removed(kind, outcome.size, path.uri(path.run_prefix(run_id)))
