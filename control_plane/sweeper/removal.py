"""Removing the folder of one run, so that no seal can meet it half removed.

The order is what makes it safe. First everything that could seal the folder is locked, and the folder marked in the database: from
then on `begin_manifest` refuses, whoever asks. Then, before each piece that is deleted, the dataset's manifest is looked at again: a
manifest that came from elsewhere (an older control plane, another database) still saves the rest. The proposal goes first: no seal
succeeds without it.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import structlog

from contracts.errors import Unreadable
from contracts.layout import DatasetPath
from contracts.manifest import Manifest
from contracts.reading import DOCUMENT, read
from control_plane import metrics
from control_plane.database import queries
from control_plane.errors import ObjectMissing, TooMuch
from control_plane.storage import ObjectInfo, Storage
from control_plane.sweeper.makers import as_upload_id
from control_plane.sweeper.sweeper import Sweeper
from control_plane.sweeper.tally import Size

log = structlog.get_logger()
_LEASE_SECONDS = 120
_PIECE = 250


@dataclass(frozen=True, slots=True)
class Removed:
    """The folder is gone."""

    size: Size


@dataclass(frozen=True, slots=True)
class Kept:
    """It stays. `passing`: another look may find it otherwise. `sealed`: a manifest names it, so it is no left-over at all."""

    why: str
    passing: bool = False
    sealed: bool = False


BUSY = Kept("it may be sealed yet, or another sweeper is at it", passing=True)


async def remove_folder(sweeper: Sweeper, tenant: str, path: DatasetPath, run_id: str) -> Removed | Kept:
    """Remove the folder of a run unless a manifest names it, or something may yet seal it.

    Raises:
        StorageUnavailable, TurnOver: in the middle of it; the mark stays, so that nobody seals what is left.
    """
    key = {
        "tenant": tenant,
        "entity_id": path.entity_id,
        "data_version": path.data_version,
        "dataset": path.dataset,
        "run_id": run_id,
    }
    if not await _claim(sweeper, key):
        return await _why_refused(sweeper, key)
    outcome = await asyncio.to_thread(_remove, sweeper, path, run_id)
    async with sweeper.database.connection() as connection:
        await (queries.free_folder if isinstance(outcome, Kept) else queries.folder_removed)(connection, **key)
    if isinstance(outcome, Removed):
        metrics.SWEPT.inc(outcome.size.objects)
    return outcome


async def _claim(sweeper: Sweeper, key: dict[str, Any]) -> bool:
    upload_id = as_upload_id(key["run_id"])
    async with sweeper.database.transaction() as connection:
        owner = {"tenant": key["tenant"], "run_id": key["run_id"], "upload_id": upload_id}
        _ = [row async for row in queries.lock_folder_owners(connection, **owner)]
        return await queries.claim_folder(connection, **key, upload_id=upload_id, lease_seconds=_LEASE_SECONDS) is not None


async def _why_refused(sweeper: Sweeper, key: dict[str, Any]) -> Kept:
    async with sweeper.database.connection() as connection:
        names = {name: value for name, value in key.items() if name != "run_id"}
        sealed = {row["run_id"] async for row in queries.registered_runs(connection, **names)}
    return Kept("the registry says that it is sealed", sealed=True) if key["run_id"] in sealed else BUSY


def _remove(sweeper: Sweeper, path: DatasetPath, run_id: str) -> Removed | Kept:
    storage, bucket, size = sweeper.storage, path.root.bucket, Size()
    for piece in _pieces(storage, path, run_id):
        sweeper.turns.step()
        kept = named(storage, path, run_id)
        if kept is not None:
            if size.objects:
                log.error("a seal came while its folder was being removed", folder=path.uri(path.run_prefix(run_id)), removed=size.objects)
            return kept
        storage.delete(bucket, [item.key for item in piece])
        size += Size(len(piece), sum(item.size for item in piece))
    return Removed(size)


def named(storage: Storage, path: DatasetPath, run_id: str) -> Kept | None:
    """Why the dataset's manifest, as it is now, keeps the folder; None: it does not, or there is none."""
    prefix = path.run_prefix(run_id)
    try:
        manifest = read(Manifest, storage.get(path.root.bucket, path.manifest_key), DOCUMENT)
    except ObjectMissing:
        return None
    except TooMuch as error:
        log.warning("a manifest is too large; the run's folder stays", manifest=path.uri(path.manifest_key), error=str(error))
        return Kept("its dataset's manifest is too large to be read, so nobody knows what it names")
    except Unreadable as error:
        log.warning("unreadable manifest; the run's folder stays", manifest=path.uri(path.manifest_key), error=str(error))
        return Kept("its dataset's manifest cannot be read, so nobody knows what it names")
    names = manifest.run_id == run_id or manifest.location == path.uri(prefix) or any(f.key.startswith(prefix) for f in manifest.files)
    return Kept("its dataset's manifest names it", sealed=True) if names else None


def _pieces(storage: Storage, path: DatasetPath, run_id: str) -> Iterator[list[ObjectInfo]]:
    """The proposal, then all else page by page: a folder may hold more than fits into memory."""
    bucket, first = path.root.bucket, path.proposal_key(run_id)
    if proposal := [item for item in next(storage.pages(bucket, first), ()) if item.key == first]:
        yield proposal
    for page in storage.pages(bucket, path.run_prefix(run_id)):
        others = [item for item in page if item.key != first]
        for begin in range(0, len(others), _PIECE):
            yield others[begin : begin + _PIECE]
