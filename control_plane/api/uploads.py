"""Uploads: presigned, create-only PUTs into a run folder of their own, then a seal that reads footers."""

from datetime import timedelta
from uuid import UUID

import asyncpg
from fastapi import APIRouter, Response

from contracts.http import Dataset, Upload, UploadRequest, UploadTarget
from contracts.identifiers import Identifier, new_id
from contracts.layout import StorageRoot
from control_plane import acceptance, quotas
from control_plane.api.auth import Writer
from control_plane.api.dataset_document import dataset_response
from control_plane.api.problems import documented
from control_plane.api.routes import Route
from control_plane.api.services import Injected
from control_plane.database import queries
from control_plane.errors import (
    Conflict,
    Forbidden,
    Invalid,
    Malformed,
    NameTaken,
    NotFound,
    RateLimited,
    Retired,
    StorageUsedUp,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from control_plane.upload_seal import Place, give_up

router = APIRouter(
    prefix="/v1/entities/{entity_id}/versions/{data_version}/datasets/{dataset}/uploads",
    tags=["uploads"],
    route_class=Route,
)
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
    signed = await services.presigner.puts(path.root.bucket, ((prefix + file.name, file.bytes) for file in body.files), seconds)
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
    await services.seals.seal(Place(caller.tenant, entity_id, data_version, dataset, upload_id))
    return await dataset_response(services, caller.tenant, entity_id, data_version, dataset)


@router.delete("/{upload_id}", operation_id="abandon_upload", status_code=204, responses=documented(*_COMMON, NotFound, Conflict))
async def abandon(
    entity_id: Identifier, data_version: Identifier, dataset: Identifier, upload_id: UUID, services: Injected, caller: Writer
) -> None:
    """Give an upload up: its dataset name is free again, its files are removed later. Safe to repeat."""
    state = await give_up(services.database, services.storage, Place(caller.tenant, entity_id, data_version, dataset, upload_id))
    if state == "sealed":
        raise Conflict("The upload is sealed; datasets never change.")
    if state == "open":
        raise Conflict("The upload is being sealed right now; seal it again to hear what became of it.", retry_after=5)
