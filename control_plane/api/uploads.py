"""Uploads: presigned, create-only PUTs into a run folder of their own, then a seal that reads footers."""

import asyncio
import hashlib
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
from fastapi import APIRouter, Response

from contracts.http import Dataset, Upload, UploadFile, UploadRequest, UploadTarget
from contracts.identifiers import Identifier, new_id
from contracts.layout import DatasetPath, StorageRoot
from contracts.manifest import Manifest
from contracts.proposal import DatasetContent
from control_plane import acceptance, footers, quotas, seal
from control_plane.api.auth import Writer
from control_plane.api.datasets import dataset_response
from control_plane.api.problems import documented
from control_plane.api.services import Injected
from control_plane.database import Connection, queries
from control_plane.errors import (
    Conflict,
    Forbidden,
    Invalid,
    Malformed,
    NameTaken,
    NotFound,
    ObjectMissing,
    ProposalRejected,
    RateLimited,
    Retired,
    StorageUsedUp,
    TooLarge,
    Unauthenticated,
    Unavailable,
    UploadRefused,
)
from control_plane.storage import ObjectInfo, Storage

router = APIRouter(prefix="/v1/entities/{entity_id}/versions/{data_version}/datasets/{dataset}/uploads", tags=["uploads"])
_COMMON = (Unauthenticated, Invalid, Unavailable, Forbidden, RateLimited)


_PLACE = {name: f"$request.path.{name}" for name in ("entity_id", "data_version", "dataset")}
_LINKS = {
    name: {"operationId": operation, "parameters": {**_PLACE, "upload_id": "$response.body#/upload_id"}}
    for name, operation in (("seal", "seal_upload"), ("give_up", "abandon_upload"))
}


@router.post(
    "",
    operation_id="create_upload",
    status_code=201,
    responses={
        201: {"description": "PUT each file to its URL, then seal.", "links": _LINKS},
        **documented(*_COMMON, NameTaken, Malformed, TooLarge, StorageUsedUp),
    },
)
async def create(
    entity_id: Identifier, data_version: Identifier, dataset: Identifier, body: UploadRequest, services: Injected, caller: Writer
) -> Upload:
    """Begin an upload of Parquet files: one presigned URL a file. The name is held until the upload is sealed, given up or expires.

    The same files again continue the upload that is open: fresh URLs, and what is there already need not be sent twice.
    """
    names = [file.name for file in body.files]
    if len(set(names)) != len(names):
        raise Invalid("A file name is there twice.", errors=[{"pointer": "/files", "detail": "names must differ"}])
    upload_id = new_id()
    seconds = services.settings.upload_seconds
    where = {"tenant": caller.tenant, "entity_id": entity_id, "data_version": data_version}
    files = [file.model_dump(mode="json") for file in body.files]
    async with services.database.tenant(caller.tenant) as connection:
        await quotas.check_storage(connection, caller.tenant, more=sum(file.bytes for file in body.files))
        tenant = await queries.tenant_storage(connection, tenant=caller.tenant)
        expires_at = tenant["now"] + timedelta(seconds=seconds)
        try:
            async with connection.transaction():
                await queries.open_upload(connection, id=upload_id, **where, dataset=dataset, files=files, expires_at=expires_at)
                if await queries.is_sealed(connection, **where, datasets=[dataset]):
                    raise NameTaken("sealed")
        except (asyncpg.UniqueViolationError, NameTaken) as error:
            resumed = await queries.resume_upload(connection, **where, dataset=dataset, files=files, expires_at=expires_at)
            if resumed is None:
                owner = await queries.owner_of(connection, **where, datasets=[dataset])
                if owner is None:
                    raise Conflict("The dataset name changes hands right now; send the request again.") from error
                raise acceptance.taken(entity_id, data_version, owner) from error
            upload_id = resumed
    path = StorageRoot(tenant["bucket"], tenant["prefix"]).dataset(entity_id, data_version, dataset)
    prefix = path.run_prefix(str(upload_id))
    signed = await services.presigner.puts(path.root.bucket, (prefix + name for name in names), seconds)
    targets = [UploadTarget(name=name, url=url, headers=headers) for name, (url, headers) in zip(names, signed, strict=True)]
    return Upload(upload_id=upload_id, expires_at=expires_at, files=targets)


@router.post(
    "/{upload_id}/seal",
    operation_id="seal_upload",
    response_model=Dataset,
    responses=documented(*_COMMON, NotFound, NameTaken, Retired, StorageUsedUp),
)
async def seal_upload(
    entity_id: Identifier, data_version: Identifier, dataset: Identifier, upload_id: UUID, services: Injected, caller: Writer
) -> Response:
    """Check the uploaded files against what was announced, and seal the dataset. Safe to repeat."""
    try:
        async with services.database.tenant(caller.tenant) as connection:
            row = await _lock(connection, caller.tenant, entity_id, data_version, dataset, upload_id)
            if row["state"] == "expired" or (row["state"] == "open" and row["expires_at"] < row["now"]):
                raise Conflict("The upload has expired, was given up or was refused; begin a new one.")
            if row["state"] == "open":
                await quotas.check_storage(connection, caller.tenant, more=sum(file["bytes"] for file in row["files"]))
                await _seal(connection, services.storage, caller.tenant, row)
    except UploadRefused:
        # what lies there can never be sealed: the name is free for another upload
        async with services.database.tenant(caller.tenant) as connection:
            await queries.close_upload(connection, id=upload_id, state="expired")
        raise
    return await dataset_response(services, caller.tenant, entity_id, data_version, dataset)


@router.delete("/{upload_id}", operation_id="abandon_upload", status_code=204, responses=documented(*_COMMON, NotFound, Conflict))
async def abandon(
    entity_id: Identifier, data_version: Identifier, dataset: Identifier, upload_id: UUID, services: Injected, caller: Writer
) -> None:
    """Give an upload up: its dataset name is free again, its files are removed later. Safe to repeat."""
    async with services.database.tenant(caller.tenant) as connection:
        row = await _lock(connection, caller.tenant, entity_id, data_version, dataset, upload_id)
        if row["state"] == "sealed":
            raise Conflict("The upload is sealed; datasets never change.")
        await queries.close_upload(connection, id=upload_id, state="expired")


async def _lock(connection: Connection, tenant: str, entity_id: str, data_version: str, dataset: str, upload_id: UUID) -> asyncpg.Record:
    where = {"entity_id": entity_id, "data_version": data_version, "dataset": dataset}
    row: asyncpg.Record | None = await queries.lock_upload(connection, tenant=tenant, id=upload_id, **where)
    if row is None:
        raise NotFound(f"There is no upload {upload_id} for {entity_id}/{data_version}/{dataset}.")
    return row


async def _seal(connection: Connection, storage: Storage, tenant: str, row: asyncpg.Record) -> None:
    path = StorageRoot(row["bucket"], row["prefix"]).dataset(row["entity_id"], row["data_version"], row["dataset"])
    objects = await asyncio.to_thread(_uploaded, storage, path, row["id"], row["files"])
    content = await asyncio.to_thread(_checked, storage, path, objects)
    manifest = _manifest(tenant, path, row["id"], content, row["now"])
    try:
        sealed, digest = await asyncio.to_thread(seal.put_manifest, storage, path, manifest)
    except ProposalRejected as error:
        raise NameTaken(f"The dataset exists already: {error}.") from error
    await queries.register_dataset(connection, **seal.registration(path, sealed, digest, row["id"]))
    await queries.close_upload(connection, id=row["id"], state="sealed")


def _uploaded(storage: Storage, path: DatasetPath, upload_id: UUID, files: list[Any]) -> list[tuple[UploadFile, ObjectInfo]]:
    """What was announced, and what lies there; raises `Invalid` while something is missing."""
    announced = [UploadFile.model_validate(file) for file in files]
    prefix = path.run_prefix(str(upload_id))
    lies = {item.key.removeprefix(prefix): item for item in storage.list(path.root.bucket, prefix)}
    missing = [file.name for file in announced if file.name not in lies]
    if missing:
        raise Invalid(f"Not uploaded yet: {', '.join(missing[:5])}. PUT every file to its URL, then seal.")
    return [(file, lies[file.name]) for file in announced]


def _checked(storage: Storage, path: DatasetPath, objects: list[tuple[UploadFile, ObjectInfo]]) -> DatasetContent:
    for file, item in objects:
        if item.size != file.bytes:
            raise UploadRefused(
                f"{file.name} has {item.size} bytes, {file.bytes} were announced. Begin a new upload with the file as it is."
            )
        _check_hash(storage, path, item, file)
    return footers.content([item for _, item in objects], lambda key, size: storage.tail(path.root.bucket, key, size))


def _check_hash(storage: Storage, path: DatasetPath, item: ObjectInfo, file: UploadFile) -> None:
    digest = hashlib.sha256()
    try:
        for chunk in storage.chunks(path.root.bucket, item.key):
            digest.update(chunk)
    except ObjectMissing as error:
        raise UploadRefused(f"{file.name} vanished while it was read.") from error
    if digest.hexdigest() != file.sha256:
        raise UploadRefused(f"{file.name} is not the file that was announced: its sha256 is {digest.hexdigest()}. Begin a new upload.")


def _manifest(tenant: str, path: DatasetPath, upload_id: UUID, content: DatasetContent, now: datetime) -> Manifest:
    run_id = str(upload_id)
    nothing: dict[str, Any] = dict.fromkeys(
        ("process_id", "step", "attempt", "action", "action_revision", "image", "code_version", "spark_version")
    )
    return Manifest(
        **{name: getattr(content, name) for name in DatasetContent.model_fields},
        **nothing,
        tenant=tenant,
        entity_id=path.entity_id,
        data_version=path.data_version,
        dataset=path.dataset,
        run_id=run_id,
        location=path.uri(path.run_prefix(run_id)),
        parameters={},
        inputs=(),
        created_at=now,
    )
