"""Multipart uploads that nobody will complete: what the magic committer leaves when a run is killed."""

import asyncio
from datetime import datetime

from contracts.layout import StorageRoot
from control_plane.storage import UnfinishedUpload
from control_plane.sweeper.makers import makers_of
from control_plane.sweeper.sweeper import Sweeper
from control_plane.sweeper.tally import NOT_ASKED, Kind, Size, Tally


async def sweep_multipart(sweeper: Sweeper, tally: Tally, tenant: str, root: StorageRoot) -> None:
    """Abort those under the tenant's root that are older than the grace, unless their run is under way: those are counted, not measured."""
    oldest_kept = await sweeper.now() - await sweeper.unknown_grace()
    pages = sweeper.storage.unfinished_uploads(root.bucket, root.prefix)
    while (page := await asyncio.to_thread(next, pages, None)) is not None:
        sweeper.turns.step()
        under_way = await _under_way(sweeper, tenant, {run for item in page if (run := _run_of(root, item.key))})
        for item in page:
            why = _why_kept(item, oldest_kept, _run_of(root, item.key) in under_way)
            if why is None:
                sweeper.turns.step()
                await _take(sweeper, tally, root.bucket, item)
            else:
                tally.found(Kind.MULTIPART, Size(1))
                tally.kept(Kind.MULTIPART, why)


async def _take(sweeper: Sweeper, tally: Tally, bucket: str, item: UnfinishedUpload) -> None:
    storage = sweeper.storage
    size = Size(1, await asyncio.to_thread(storage.parts_size, bucket, item.key, item.upload_id))
    tally.found(Kind.MULTIPART, size)
    if not tally.remove:
        tally.kept(Kind.MULTIPART, NOT_ASKED)
        return
    await asyncio.to_thread(storage.abort_upload, bucket, item.key, item.upload_id)
    tally.removed(Kind.MULTIPART, size, f"s3://{bucket}/{item.key}?uploadId={item.upload_id}")


def _why_kept(item: UnfinishedUpload, oldest_kept: datetime, under_way: bool) -> str | None:
    if under_way:
        return "its run or upload is under way"
    return "it is younger than the grace" if item.begun_at >= oldest_kept else None


async def _under_way(sweeper: Sweeper, tenant: str, run_ids: set[str]) -> set[str]:
    async with sweeper.database.connection() as connection:
        makers = await makers_of(connection, tenant, run_ids)
    return {run_id for run_id, maker in makers.items() if maker.over_since is None}


def _run_of(root: StorageRoot, key: str) -> str | None:
    parts = key.removeprefix(root.prefix).split("/")
    return parts[3] if len(parts) > 4 else None
