"""Folders that only a listing finds: of runs that were never granted anything, and of work that this database has forgotten.

The store is listed first and the database asked after it: whatever was granted before its folder was seen is known by then.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from contracts.layout import DatasetPath, StorageRoot
from control_plane.database import queries
from control_plane.sweeper.ended import count
from control_plane.sweeper.folders import Piece, RunFolder, pieces, why_kept
from control_plane.sweeper.isolation import apart
from control_plane.sweeper.makers import makers_of
from control_plane.sweeper.removal import named, remove_folder
from control_plane.sweeper.sweeper import Sweeper
from control_plane.sweeper.tally import NOT_ASKED, Kind, Tally

_AT_ONCE = 20


@dataclass(frozen=True, slots=True)
class LeftOver:
    """A folder that neither manifest nor registry names. `kept`: why it stays all the same."""

    tenant: str
    path: DatasetPath
    folder: RunFolder
    kind: Kind
    kept: str | None


@dataclass(frozen=True, slots=True)
class Policy:
    """What `why_kept` needs to know, as of the beginning of the look."""

    now: datetime
    grace: timedelta
    unknown_grace: timedelta
    unknown: bool


async def sweep_folders(sweeper: Sweeper, tally: Tally, tenant: str, root: StorageRoot) -> None:
    """Look at every folder under a tenant's root."""
    async for left in find(sweeper, tenant, root):
        if left.kept is None and tally.remove:
            with apart(tally, tenant, left.kind):
                await remove(sweeper, tally, left)
            if tenant in tally.unreachable:
                return
            sweeper.turns.step()  # not behind a folder that is still there
        else:
            tally.found(left.kind, left.folder.size)
            tally.kept(left.kind, left.kept or NOT_ASKED)


async def find(sweeper: Sweeper, tenant: str, root: StorageRoot) -> AsyncIterator[LeftOver]:
    """The left-over folders under a root, those that stay included.

    Raises:
        TurnOver: the tenant's next turn goes on where this one stopped.
    """
    settings = sweeper.settings
    policy = Policy(await sweeper.now(), sweeper.grace, await sweeper.unknown_grace(), settings.sweep_unknown_folders)
    found = pieces(root, sweeper.walk(root.bucket, root.prefix, sweeper.turns.goes_on_behind()))
    while batch := await asyncio.to_thread(_some, found):
        for piece in batch:
            sweeper.turns.step()
            if piece.path is not None:
                for left in await _left_over(sweeper, tenant, piece.path, piece.runs, policy):
                    yield left
            sweeper.turns.reached(piece.end)
    sweeper.turns.finished()


async def remove(sweeper: Sweeper, tally: Tally, left: LeftOver) -> None:
    """Remove one of them, unless it turns out not to be left over."""
    count(tally, left.kind, left.path, left.folder.run_id, await remove_folder(sweeper, left.tenant, left.path, left.folder.run_id))


def _some(found: Iterator[Piece]) -> list[Piece]:
    return list(islice(found, _AT_ONCE))


async def _left_over(sweeper: Sweeper, tenant: str, path: DatasetPath, runs: Sequence[RunFolder], policy: Policy) -> list[LeftOver]:
    async with sweeper.database.connection() as connection:
        names = {"tenant": tenant, "entity_id": path.entity_id, "data_version": path.data_version, "dataset": path.dataset}
        registered = {row["run_id"] async for row in queries.registered_runs(connection, **names)}
        candidates = [folder for folder in runs if folder.run_id not in registered]
        if not candidates:
            return []
        makers = await makers_of(connection, tenant, [folder.run_id for folder in candidates])
    has_manifest = await asyncio.to_thread(sweeper.storage.exists, path.root.bucket, path.manifest_key)
    result = []
    for folder in candidates:
        sweeper.turns.beat()
        manifest = await asyncio.to_thread(named, sweeper.storage, path, folder.run_id) if has_manifest else None
        maker = makers.get(folder.run_id)
        if manifest is not None and manifest.sealed:
            continue
        if manifest is None and maker is not None and maker.over_since is None:
            continue  # work under way is not left over
        kind = Kind.UNKNOWN_FOLDER if maker is None else Kind.UPLOAD if maker.is_upload else Kind.RUN_FOLDER
        why = manifest.why if manifest else why_kept(folder, maker, policy.now, policy.grace, policy.unknown_grace, unknown=policy.unknown)
        result.append(LeftOver(tenant, path, folder, kind, why))
    return result
