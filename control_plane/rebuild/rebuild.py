"""From the manifests in the store to the registry: what is missing is registered, nothing that is there is changed."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from uuid import UUID

import structlog

from contracts.errors import ContractError
from contracts.layout import DatasetPath, StorageRoot
from control_plane.database import Connection, Database, queries
from control_plane.errors import ObjectMissing, StorageRefused, StorageUnavailable, TooMuch, Unavailable
from control_plane.rebuild.report import Report
from control_plane.rebuild.rows import dataset_row, process_row, upload_id_of, upload_row
from control_plane.rebuild.verify import BrokenDataset, Sealed, read_sealed
from control_plane.retirement.tombstones import BadTombstone
from control_plane.settings import LeftoverSettings
from control_plane.storage import Storage
from control_plane.sweeper import folders

log = structlog.get_logger()
_LONGEST_REASON = 500


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
            try:
                root = StorageRoot(row["bucket"], row["prefix"])
            except ContractError as error:
                report.conflicts[row["tenant"]] = str(error)
                continue
            await _tenant(database, storage, report, row["tenant"], root, dry_run=dry_run)
    finally:
        await database.close()
    return report


async def _tenant(database: Database, storage: Storage, report: Report, tenant: str, root: StorageRoot, *, dry_run: bool) -> None:
    try:
        found = await asyncio.to_thread(_places, storage, root)
    except StorageRefused as error:
        report.conflicts[tenant] = str(error)
        return
    # names alone: what all manifests together say may be more than fits into memory
    missing: dict[UUID | DatasetPath, list[DatasetPath]] = defaultdict(list)
    for path in found:
        sealed = await _read(database, storage, report, tenant, path)
        if sealed is not None:
            missing[sealed.manifest.process_id or path].append(path)
    for group in missing.values():
        if dry_run:
            report.registered += [_name(path, tenant) for path in group]
        else:
            await _register(database, storage, report, tenant, group)
    async with database.connection() as connection:
        known = {(row["entity_id"], row["data_version"], row["dataset"]) async for row in queries.registry_of(connection, tenant=tenant)}
    for unlisted in sorted(known - {(path.entity_id, path.data_version, path.dataset) for path in found}):
        await _look_again(database, storage, report, tenant, root.dataset(*unlisted))


async def _look_again(database: Database, storage: Storage, report: Report, tenant: str, path: DatasetPath) -> None:
    """A dataset that is registered and was not listed: it may have been sealed since."""
    with _reported(report, [_name(path, tenant)]):
        if await asyncio.to_thread(storage.exists, path.root.bucket, path.manifest_key):
            await _read(database, storage, report, tenant, path)
        else:
            report.conflicts[_name(path, tenant)] = "registered, and the store has no manifest of it"


def _places(storage: Storage, root: StorageRoot) -> list[DatasetPath]:
    return list(folders.sealed(root, storage.walk(root.bucket, root.prefix)))


async def _read(database: Database, storage: Storage, report: Report, tenant: str, path: DatasetPath) -> Sealed | None:
    """The dataset, if something of it is missing in the registry; what is wrong with it is reported."""
    with _reported(report, [_name(path, tenant)]):
        sealed = await asyncio.to_thread(read_sealed, storage, tenant, path)
        async with database.connection() as connection:
            row = await queries.registry_row(connection, tenant=tenant, **_key(path))
        if row is None:
            return sealed
        if row["manifest_sha256"] != sealed.sha256:
            report.conflicts[_name(path, tenant)] = f"the registry has the manifest {row['manifest_sha256']}, the store {sealed.sha256}"
        elif sealed.tombstone is not None and not row["is_retired"]:
            return sealed
        else:
            report.known += 1
    return None


async def _register(database: Database, storage: Storage, report: Report, tenant: str, group: Sequence[DatasetPath]) -> None:
    """A process with all that it made in one transaction, so that its work is never half known; or an upload."""
    names = [_name(path, tenant) for path in group]
    with _reported(report, names):
        sealed = [await asyncio.to_thread(read_sealed, storage, tenant, path) for path in group]
        async with database.transaction() as connection:
            await _register_group(connection, sealed)
        report.registered += names


@contextmanager
def _reported(report: Report, names: Sequence[str]) -> Iterator[None]:
    """Whatever is wrong with these datasets keeps no other from being registered.

    Raises:
        StorageUnavailable, Unavailable: that is not about them.
    """
    try:
        yield
    except (BrokenDataset, BadTombstone, ObjectMissing, TooMuch, StorageRefused) as error:
        report.conflicts.update(dict.fromkeys(names, str(error)))
    except (StorageUnavailable, Unavailable):
        raise
    except Exception as error:
        log.exception("a dataset cannot be registered", names=names)
        report.conflicts.update(dict.fromkeys(names, f"it cannot be registered ({type(error).__name__}): {str(error)[:_LONGEST_REASON]}"))


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
