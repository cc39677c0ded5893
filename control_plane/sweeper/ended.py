"""Folders of runs and uploads that the database knows to be over. Cheap: no listing but of those folders."""

from typing import Any

import asyncpg

from contracts.layout import DatasetPath, StorageRoot
from control_plane.database import queries
from control_plane.sweeper.due import is_next, rows_to_sweep
from control_plane.sweeper.isolation import apart
from control_plane.sweeper.removal import Kept, Removed, remove_folder
from control_plane.sweeper.sweeper import Sweeper
from control_plane.sweeper.tally import Kind, Size, Tally
from control_plane.upload_seal import Place, give_up


async def expire_uploads(sweeper: Sweeper, tally: Tally) -> None:
    """Free the names of uploads that were never sealed. Where a manifest may lie in the store, its word comes first."""
    async for row in rows_to_sweep(sweeper, queries.expired_uploads, "expires_at", "id"):
        if row["manifest_put_at"] is None or is_next(sweeper, tally, row["tenant"], Kind.UPLOAD):
            with sweeper.turns.of(row["tenant"], Kind.UPLOAD), apart(tally, row["tenant"], Kind.UPLOAD):
                place = Place(row["tenant"], row["entity_id"], row["data_version"], row["dataset"], row["id"])
                await give_up(sweeper.database, sweeper.storage, place, _is_expired)


def _is_expired(upload: asyncpg.Record) -> bool:
    """Still: it may have been given more time since it was looked at."""
    return bool(upload["expires_at"] < upload["now"])


async def sweep_runs(sweeper: Sweeper, tally: Tally) -> None:
    """Runs whose attempt ended without a dataset, each once."""
    grace = sweeper.settings.sweep_grace_seconds
    async for row in rows_to_sweep(sweeper, queries.runs_to_sweep, "ended_at", "process_id", "step", "attempt", grace_seconds=grace):
        if is_next(sweeper, tally, row["tenant"], Kind.RUN_FOLDER):
            with sweeper.turns.of(row["tenant"], Kind.RUN_FOLDER), apart(tally, row["tenant"], Kind.RUN_FOLDER):
                await _sweep_run(sweeper, tally, row)


async def _sweep_run(sweeper: Sweeper, tally: Tally, row: dict[str, Any]) -> None:
    outcomes = [
        await _take(sweeper, tally, Kind.RUN_FOLDER, row, row["output_data_version"], name, row["run_id"])
        for name in filter(None, (row["output_dataset"], row["rejected_dataset"]))
    ]
    if not any(isinstance(outcome, Kept) and outcome.passing for outcome in outcomes):
        async with sweeper.database.connection() as connection:
            await queries.mark_swept(connection, process_id=row["process_id"], step=row["step"], attempt=row["attempt"])


async def sweep_uploads(sweeper: Sweeper, tally: Tally) -> None:
    """Uploads that expired, were given up or were refused, each once."""
    grace = sweeper.settings.sweep_grace_seconds
    async for row in rows_to_sweep(sweeper, queries.uploads_to_sweep, "expires_at", "id", grace_seconds=grace):
        if is_next(sweeper, tally, row["tenant"], Kind.UPLOAD):
            with sweeper.turns.of(row["tenant"], Kind.UPLOAD), apart(tally, row["tenant"], Kind.UPLOAD):
                await _sweep_upload(sweeper, tally, row)


async def _sweep_upload(sweeper: Sweeper, tally: Tally, row: dict[str, Any]) -> None:
    outcome = await _take(sweeper, tally, Kind.UPLOAD, row, row["data_version"], row["dataset"], str(row["id"]))
    if not (isinstance(outcome, Kept) and outcome.passing):
        async with sweeper.database.connection() as connection:
            await queries.mark_upload_swept(connection, id=row["id"])


async def _take(
    sweeper: Sweeper, tally: Tally, kind: Kind, row: dict[str, Any], data_version: str, dataset: str, run_id: str
) -> Removed | Kept:
    path = StorageRoot(row["bucket"], row["prefix"]).dataset(row["entity_id"], data_version, dataset)
    outcome = await remove_folder(sweeper, row["tenant"], path, run_id)
    count(tally, kind, path, run_id, outcome)
    return outcome


def count(tally: Tally, kind: Kind, path: DatasetPath, run_id: str, outcome: Removed | Kept) -> None:
    """Take what became of a folder into the figures. A folder that was empty is nothing."""
    if isinstance(outcome, Kept):
        tally.found(kind, Size())
        tally.kept(kind, outcome.why)
    elif outcome.size.objects:
        tally.found(kind, outcome.size)
        tally.removed(kind, outcome.size, path.uri(path.run_prefix(run_id)))
