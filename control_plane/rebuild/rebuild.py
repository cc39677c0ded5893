"""From the manifests in the store to the registry: what is missing is registered, nothing that is there is changed."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from uuid import UUID

from contracts.layout import DatasetPath, StorageRoot
from control_plane.database import Connection, Database, queries
from control_plane.errors import ObjectMissing
from control_plane.rebuild.report import Report
from control_plane.rebuild.rows import dataset_row, process_row, upload_id_of, upload_row
from control_plane.rebuild.verify import BrokenDataset, Sealed, read_sealed
from control_plane.retirement.tombstones import BadTombstone
from control_plane.settings import LeftoverSettings
from control_plane.storage import Storage
from control_plane.sweeper.folders import datasets


async def rebuild(settings: LeftoverSettings, only_tenant: str | None, *, dry_run: bool) -> Report:
    """Restore the registry of every tenant, or of one. Safe to repeat, and while the services run.

    Raises:
        StorageUnavailable, Unavailable: what is registered by then stays; run it again.
    """
    database, storage, report = Database(settings), Storage(settings), Report()
    try:
        async with database.connection() as connection:
            tenants = [dict(row) async for row in queries.sweep_tenants(connection) if only_tenant in (None, row["tenant"])]
        for row in tenants:
            await _tenant(database, storage, report, row["tenant"], StorageRoot(row["bucket"], row["prefix"]), dry_run=dry_run)
    finally:
        await database.close()
    return report


async def _tenant(database: Database, storage: Storage, report: Report, tenant: str, root: StorageRoot, *, dry_run: bool) -> None:
    found = await asyncio.to_thread(_places, storage, root)
    missing: list[Sealed] = []
    for path in found:
        sealed = await _read(database, storage, report, tenant, path)
        if sealed is not None:
            missing.append(sealed)
    if not dry_run:
        await _register(database, missing)
    report.registered += [_name(sealed.path, tenant) for sealed in missing]
    async with database.connection() as connection:
        known = {(row["entity_id"], row["data_version"], row["dataset"]) async for row in queries.registry_of(connection, tenant=tenant)}
    for gone in sorted(known - {(path.entity_id, path.data_version, path.dataset) for path in found}):
        report.conflicts[f"{tenant}: {'/'.join(gone)}"] = "registered, and the store has no manifest of it"


def _places(storage: Storage, root: StorageRoot) -> list[DatasetPath]:
    return [place.path for place in datasets(root, storage.walk(root.bucket, root.prefix)) if place.has_manifest]


async def _read(database: Database, storage: Storage, report: Report, tenant: str, path: DatasetPath) -> Sealed | None:
    """The dataset, if something of it is missing in the registry; what is wrong with it is reported."""
    name = _name(path, tenant)
    try:
        sealed = await asyncio.to_thread(read_sealed, storage, tenant, path)
    except (BrokenDataset, BadTombstone, ObjectMissing) as error:
        report.conflicts[name] = str(error)
        return None
    async with database.connection() as connection:
        row = await queries.registry_row(connection, tenant=tenant, **_key(path))
    if row is None:
        return sealed
    if row["manifest_sha256"] != sealed.sha256:
        report.conflicts[name] = f"the registry has the manifest {row['manifest_sha256']}, the store {sealed.sha256}"
    elif sealed.tombstone is not None and not row["is_retired"]:
        return sealed
    else:
        report.known += 1
    return None


async def _register(database: Database, missing: Sequence[Sealed]) -> None:
    """Each process with all that it made in one transaction, so that its work is never half known."""
    by_process: dict[UUID | None, list[Sealed]] = defaultdict(list)
    for sealed in missing:
        by_process[sealed.manifest.process_id].append(sealed)
    uploaded = by_process.pop(None, [])
    for group in (*([one] for one in uploaded), *by_process.values()):
        async with database.transaction() as connection:
            await _register_group(connection, group)


async def _register_group(connection: Connection, group: Sequence[Sealed]) -> None:
    manifests = [sealed.manifest for sealed in group]
    if upload_id_of(manifests[0]) is None:
        await queries.rebuild_process(connection, **process_row(manifests))
    else:
        await queries.rebuild_upload(connection, **upload_row(manifests[0]))
    for sealed in group:
        await queries.rebuild_dataset(connection, **dataset_row(sealed))
        if sealed.tombstone is not None:
            stone = sealed.tombstone
            facts = {"retired_at": stone.retired_at, "retired_by": stone.retired_by, "reason": stone.reason}
            await queries.retire(connection, tenant=stone.tenant, **_key(sealed.path), **facts)


def _key(path: DatasetPath) -> dict[str, str]:
    return {"entity_id": path.entity_id, "data_version": path.data_version, "dataset": path.dataset}


def _name(path: DatasetPath, tenant: str) -> str:
    return f"{tenant}: {path.entity_id}/{path.data_version}/{path.dataset}"
