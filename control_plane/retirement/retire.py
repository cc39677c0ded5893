"""An admin retires a dataset."""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import structlog

from contracts.http import DatasetRef, Retirement
from contracts.layout import DatasetPath, StorageRoot
from contracts.tombstone import Tombstone
from control_plane.database import Connection, queries
from control_plane.errors import Conflict, Retired
from control_plane.retirement.tombstones import BadTombstone, put_tombstone
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
    connection: Connection, storage: Storage, name: Name, by: str, reason: str, grace: timedelta, *, dry_run: bool
) -> Retirement | None:
    """Retire a dataset, or say what would depend on it. A second time is the first time's answer. None: there is no such dataset.

    Runs in the caller's transaction: the tombstone is put before it is committed, so what is retired here is retired in the store.

    Raises:
        Conflict: active processes read it.
        StorageUnavailable: nothing was retired.
    """
    await queries.lock_dataset(connection, **name.key)
    row = await queries.dataset_to_retire(connection, **name.key)
    if row is None:
        return None
    readers = [reader["id"] async for reader in queries.active_readers(connection, **name.key)]
    made_from = [DatasetRef.model_validate(dict(item)) async for item in queries.made_from(connection, **name.key)]
    facts: dict[str, Any] = {"active_readers": readers, "made_from_it": made_from, "bytes": row["bytes"], "location": row["location"]}
    if row["retired_at"] is None and not dry_run:
        if readers:
            raise Conflict(
                f"The dataset {name} is read by {_listed(readers)}; wait until they have ended, or cancel them, then retire it.",
                owner_process_id=readers[0],
            )
        row = {**dict(row), **await _retire(connection, storage, name, row, by, reason)}
    due = row["retired_at"] + grace if row["retired_at"] else None
    fields = {field: row[field] for field in ("retired_at", "retired_by", "reason", "files_removed_at")}
    return Retirement(entity_id=name.entity_id, data_version=name.data_version, dataset=name.dataset, files_go_at=due, **fields, **facts)


async def _retire(
    connection: Connection, storage: Storage, name: Name, row: asyncpg.Record, by: str, reason: str
) -> dict[str, datetime | str]:
    tombstone = Tombstone(**name.key, manifest_sha256=row["manifest_sha256"], retired_at=row["now"], retired_by=by, reason=reason)
    path: DatasetPath = StorageRoot(row["bucket"], row["prefix"]).dataset(name.entity_id, name.data_version, name.dataset)
    # one that is there already, from a try whose end was lost, counts: what it says is what happened
    try:
        there = await asyncio.to_thread(put_tombstone, storage, path, tombstone)
    except BadTombstone as error:
        raise Conflict(f"The dataset {name} cannot be retired: {error}. `python -m control_plane rebuild` compares both.") from error
    facts: dict[str, datetime | str] = {"retired_at": there.retired_at, "retired_by": there.retired_by, "reason": there.reason}
    await queries.retire(connection, **name.key, **facts)
    log.info("dataset retired", dataset=str(name), by=there.retired_by, reason=there.reason)
    return facts


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
