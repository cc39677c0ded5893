"""An admin retires a dataset."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import structlog

from contracts.http import DatasetRef, Retirement
from contracts.layout import DatasetPath, StorageRoot
from contracts.tombstone import Tombstone
from control_plane.database import Connection, Database, queries
from control_plane.errors import Conflict, Retired
from control_plane.retirement.tombstones import BadTombstone, put_tombstone, read_tombstone
from control_plane.storage import Storage

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Name:
    """A dataset of a tenant."""

    tenant: str
    entity_id: str
    data_version: str
    dataset: str

    @property
    def key(self) -> dict[str, Any]:
        """Parameters that name it in a query."""
        return {name: getattr(self, name) for name in self.__slots__}

    def __str__(self) -> str:
        return f"{self.entity_id}/{self.data_version}/{self.dataset}"


async def retire(
    database: Database, storage: Storage, name: Name, by: str, reason: str, grace: timedelta, *, dry_run: bool
) -> Retirement | None:
    """Retire a dataset, or say what would depend on it. A second time is the first time's answer. None: there is no such dataset.

    The registry knows of it first, and then nobody reads it any more; a tombstone that is not put is put by the next try, and by the
    sweeper before it removes a file. No connection is held while the store is asked.

    Raises:
        Conflict: active processes read it.
        StorageUnavailable: ask again; it may be retired.
    """
    seen = await _look(database, name)
    if seen is None:
        return None
    row = seen.row
    if not dry_run:
        path: DatasetPath = StorageRoot(row["bucket"], row["prefix"]).dataset(name.entity_id, name.data_version, name.dataset)
        try:
            # one that is there already, from a try that a restored database knows nothing of, counts: what it says is what happened
            there = await asyncio.to_thread(read_tombstone, storage, path)
            row = await _retire(database, name, there or _tombstone(name, row, by, reason))
            await asyncio.to_thread(put_tombstone, storage, path, _tombstone(name, row, row["retired_by"], row["reason"]))
        except BadTombstone as error:
            raise Conflict(f"The dataset {name} cannot be retired: {error}. `python -m control_plane rebuild` compares both.") from error
    due = row["retired_at"] + grace if row["retired_at"] else None
    fields = {field: row[field] for field in ("retired_at", "retired_by", "reason", "files_removed_at", "bytes", "location")}
    where = {"entity_id": name.entity_id, "data_version": name.data_version, "dataset": name.dataset}
    return Retirement(**where, **fields, files_go_at=due, active_readers=seen.readers, made_from_it=seen.made_from)


@dataclass(frozen=True, slots=True)
class _Seen:
    row: asyncpg.Record
    readers: list[UUID]
    made_from: list[DatasetRef]


async def _look(database: Database, name: Name) -> _Seen | None:
    async with database.tenant(name.tenant) as connection:
        row = await queries.dataset_to_retire(connection, **name.key)
        if row is None:
            return None
        made_from = [DatasetRef.model_validate(dict(item)) async for item in queries.made_from(connection, **name.key)]
        return _Seen(row, await _readers(connection, name), made_from)


async def _readers(connection: Connection, name: Name) -> list[UUID]:
    return [reader["id"] async for reader in queries.active_readers(connection, **name.key)]


async def _retire(database: Database, name: Name, tombstone: Tombstone) -> asyncpg.Record:
    """The row as it is now: retired, by this tombstone or before."""
    async with database.tenant(name.tenant) as connection:
        await queries.lock_dataset(connection, **name.key)
        row: asyncpg.Record = await queries.dataset_to_retire(connection, **name.key)
        if row["retired_at"] is not None:
            return row
        readers = await _readers(connection, name)
        if readers:
            raise Conflict(
                f"The dataset {name} is read by {_listed(readers)}; wait until they have ended, or cancel them, then retire it.",
                owner_process_id=readers[0],
            )
        if tombstone.manifest_sha256 != row["manifest_sha256"]:
            raise BadTombstone("its tombstone in the store is about another manifest than the registry's")
        facts = {"retired_at": tombstone.retired_at, "retired_by": tombstone.retired_by, "reason": tombstone.reason}
        await queries.retire(connection, **name.key, **facts)
        log.info("dataset retired", dataset=str(name), by=tombstone.retired_by, reason=tombstone.reason)
        retired: asyncpg.Record = await queries.dataset_to_retire(connection, **name.key)
    return retired


def _tombstone(name: Name, row: asyncpg.Record, by: str, reason: str) -> Tombstone:
    when = row["retired_at"] or row["now"]
    return Tombstone(**name.key, manifest_sha256=row["manifest_sha256"], retired_at=when, retired_by=by, reason=reason)


async def check_not_retired(connection: Connection, tenant: str, entity_id: str, data_version: str, datasets: list[str]) -> None:
    """Raise `Retired` for the first of the datasets that is."""
    where = {"tenant": tenant, "entity_id": entity_id, "data_version": data_version}
    row = await queries.retired_among(connection, **where, datasets=datasets)
    if row is not None:
        raise Retired(words(f"{entity_id}/{data_version}/{row['dataset']}", row))


def words(name: str, row: asyncpg.Record) -> str:
    """When, by whom and why a dataset was retired."""
    when = row["retired_at"].isoformat(timespec="seconds")
    return f"The dataset {name} was retired on {when} by {row['retired_by']}: {row['reason']}. Its name stays taken."


def _listed(readers: list[Any]) -> str:
    shown = ", ".join(str(reader) for reader in readers[:5])
    return f"the active process{'es' if len(readers) > 1 else ''} {shown}" + (" and more" if len(readers) > 5 else "")
