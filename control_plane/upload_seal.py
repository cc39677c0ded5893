"""The seal of an upload: short transactions, and between them the store, which nobody waits for with a connection.

1. The upload is open, and is given the time that reading takes.
2. Its files are read. It may be given up meanwhile.
3. It is marked: from here on a manifest may lie in the store, and it is not given up. Its bytes are the tenant's from here on, too:
   the quota was asked in the same transaction, and is not asked again.
4. The manifest is put, create-only.
5. The dataset is registered.

A try that ended anywhere is taken up by the next one. Two at once both go all the way: one puts the manifest, the other finds it.
One that was marked and is given up, by whomever, is looked for in the store first: if its manifest is there, it is sealed.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, cast
from uuid import UUID

import asyncpg

from contracts.layout import DatasetPath, StorageRoot
from contracts.manifest import Manifest
from control_plane import quotas, seal, uploaded
from control_plane.database import Connection, Database, queries
from control_plane.errors import Conflict, NameTaken, NotFound, ProposalRejected, UploadRefused
from control_plane.footer_readers import FooterReaders
from control_plane.seal import Sealable
from control_plane.storage import Storage
from control_plane.turns import Turns

UploadState = Literal["open", "sealed", "expired"]
READ_SECONDS = 3600
"""An upload that is being sealed has at least so much time left."""
MOST_AT_ONCE = 16
"""Seals of one replica: each keeps a thread, and there are others who need one."""
MOST_OF_A_TENANT = MOST_AT_ONCE // 4
"""Of those, so that nobody's many uploads are all that is sealed."""


@dataclass(frozen=True, slots=True)
class Place:
    """Which upload of which tenant, for what name."""

    tenant: str
    entity_id: str
    data_version: str
    dataset: str
    upload_id: UUID

    async def lock(self, connection: Connection) -> asyncpg.Record:
        """The upload's row, nobody else's until the transaction ends; raises `NotFound`."""
        where = {"tenant": self.tenant, "entity_id": self.entity_id, "data_version": self.data_version, "dataset": self.dataset}
        row: asyncpg.Record | None = await queries.lock_upload(connection, id=self.upload_id, **where, put_seconds=seal.PUT_SECONDS)
        if row is None:
            raise NotFound(f"There is no upload {self.upload_id} for {self.entity_id}/{self.data_version}/{self.dataset}.")
        return row


class UploadSeals:
    """Seals uploads, so many at once, and so many of one tenant. The others wait their turn, without a connection and without a thread."""

    def __init__(self, database: Database, storage: Storage, readers: FooterReaders) -> None:
        self._database = database
        self._storage = storage
        self._readers = readers
        self._turns = Turns(MOST_AT_ONCE, MOST_OF_A_TENANT)

    async def seal(self, place: Place) -> None:
        """Check the uploaded files against what was announced, and seal the dataset.

        Raises:
            NotFound, Conflict, StorageUsedUp, Invalid: it is not to be sealed, or not now.
            UploadRefused: it never will be; its name is free.
            NameTaken: another's manifest is there.
        """
        async with self._turns.turn(place.tenant):
            await self._seal(place)

    async def _seal(self, place: Place) -> None:
        row = await self._begin(place)
        if row is None:
            return
        path = StorageRoot(row["bucket"], row["prefix"]).dataset(place.entity_id, place.data_version, place.dataset)
        try:
            sealable = await asyncio.to_thread(self._sealable, place, path, row)
        except UploadRefused:
            # unless another try saw it otherwise, and has put the manifest, or puts it right now
            if await give_up(self._database, self._storage, place) == "sealed":
                return
            raise
        until = seal.put_until()
        if await self._mark(place):
            await self._put(place, path, sealable, until)

    async def _begin(self, place: Place) -> asyncpg.Record | None:
        """The upload, which stays open while it is read. None: it is sealed already."""
        async with self._database.tenant(place.tenant) as connection:
            row = await place.lock(connection)
            if _is_sealed(row):
                return None
            if row["manifest_put_at"] is None:
                await quotas.check_storage(connection, place.tenant, more=_announced_bytes(row))
            await queries.prolong_upload(connection, id=place.upload_id, seconds=READ_SECONDS)
            return row

    def _sealable(self, place: Place, path: DatasetPath, row: asyncpg.Record) -> Sealable:
        """What is to be put, of files that were read. Blocking."""
        content = uploaded.checked(self._storage, self._readers, path, place.upload_id, row["files"])
        try:
            return seal.sealable(path, uploaded.manifest(place.tenant, path, place.upload_id, content, row["now"]))
        except ProposalRejected as error:
            raise UploadRefused(f"The dataset cannot be sealed: {error}.") from error

    async def _mark(self, place: Place) -> bool:
        """Whether the manifest is to be put: false when another try has sealed the upload meanwhile."""
        async with self._database.tenant(place.tenant) as connection:
            row = await place.lock(connection)
            if _is_sealed(row):
                return False
            if row["manifest_put_at"] is None:
                await quotas.hold_storage(connection, place.tenant, place.upload_id, _announced_bytes(row))
            await queries.begin_upload_manifest(connection, id=place.upload_id, seconds=READ_SECONDS)
            return True

    async def _put(self, place: Place, path: DatasetPath, sealable: Sealable, until: float) -> None:
        try:
            sealed, digest = await asyncio.to_thread(seal.put_manifest, self._storage, sealable, until)
        except ProposalRejected as error:
            raise NameTaken(f"The dataset exists already: {error}.") from error
        async with self._database.tenant(place.tenant) as connection:
            if _is_sealed(await place.lock(connection)):
                return
            await _register(connection, place, path, sealed, digest)


async def give_up(
    database: Database, storage: Storage, place: Place, is_due: Callable[[asyncpg.Record], bool] = lambda _: True
) -> UploadState:
    """Free the name of an upload, unless its manifest lies in the store: then its dataset is registered. Returns what it is from now on.

    `open`: its manifest may be put right now, or `is_due` does not hold of its row, which nobody else changes meanwhile.

    Raises:
        StorageUnavailable: whether its manifest is there cannot be told yet; it stays as it is.
    """
    async with database.tenant(place.tenant) as connection:
        row = await place.lock(connection)
        if row["state"] != "open":
            return cast("UploadState", row["state"])
        if row["is_being_sealed"] or not is_due(row):
            return "open"
        if row["manifest_put_at"] is None:
            await queries.close_upload(connection, id=place.upload_id, state="expired")
            return "expired"
    path = StorageRoot(row["bucket"], row["prefix"]).dataset(place.entity_id, place.data_version, place.dataset)
    found = await asyncio.to_thread(seal.find_manifest, storage, path, None, str(place.upload_id))
    async with database.tenant(place.tenant) as connection:
        again = await place.lock(connection)
        if again["state"] != "open":
            return cast("UploadState", again["state"])
        if found is not None:
            await _register(connection, place, path, *found)
            return "sealed"
        if again["manifest_put_at"] != row["manifest_put_at"] or not is_due(again):
            return "open"  # another try was begun after the look at the store
        await queries.close_upload(connection, id=place.upload_id, state="expired")
        return "expired"


async def _register(connection: Connection, place: Place, path: DatasetPath, sealed: Manifest, digest: str) -> None:
    await queries.register_dataset(connection, **seal.registration(path, sealed, digest, place.upload_id))
    await queries.close_upload(connection, id=place.upload_id, state="sealed")


def _announced_bytes(row: asyncpg.Record) -> int:
    return sum(file["bytes"] for file in row["files"])


def _is_sealed(row: asyncpg.Record) -> bool:
    """Whether nothing is left to do; raises `Conflict` when nothing can be done any more.

    One that was marked does not expire by the clock alone: its manifest may be there, and then this try is what registers it.
    """
    over = row["state"] == "open" and row["expires_at"] < row["now"] and row["manifest_put_at"] is None
    if row["state"] == "expired" or over:
        raise Conflict("The upload has expired, was given up or was refused; begin a new one.")
    return bool(row["state"] == "sealed")
