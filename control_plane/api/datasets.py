"""`/v1/actions` and `/v1/entities`: what can be done, and what is there."""

from typing import Annotated

from fastapi import APIRouter, Query

from contracts.http import (
    ActionDescription,
    ActionList,
    Dataset,
    EntityPage,
    EntitySummary,
    FileUrl,
    VersionPage,
    VersionSummary,
)
from contracts.identifiers import Identifier
from control_plane import acceptance
from control_plane.api import cursor as cursors
from control_plane.api.auth import Reader
from control_plane.api.problems import documented
from control_plane.api.services import Injected
from control_plane.database import queries
from control_plane.errors import Invalid, NotFound, RateLimited, Retired, Unauthenticated, Unavailable
from control_plane.retirement.retire import check_not_retired

router = APIRouter(prefix="/v1", tags=["data"])
_COMMON = (Unauthenticated, Invalid, Unavailable, RateLimited)
Limit = Annotated[int, Query(ge=1, le=1000)]


@router.get("/actions", operation_id="list_actions", responses=documented(*_COMMON))
async def list_actions(services: Injected, caller: Reader) -> ActionList:
    """The catalog: every action with the JSON Schema of its parameters."""
    actions = services.catalog.current.actions
    return ActionList(
        items=[
            ActionDescription(
                name=action.name,
                description=action.description,
                revision=action.revision,
                parameters=action.parameters,
                deterministic=action.deterministic,
                examples=list(action.examples),
            )
            for _, action in sorted(actions.items())
        ]
    )


@router.get("/entities", operation_id="list_entities", responses=documented(*_COMMON))
async def list_entities(services: Injected, caller: Reader, limit: Limit = 100, cursor: str | None = None) -> EntityPage:
    """Entities that have sealed data, by name."""
    async with services.database.tenant(caller.tenant) as connection:
        after = cursors.decode(cursor) if cursor else None
        rows = [row async for row in queries.list_entities(connection, tenant=caller.tenant, after=after, limit=limit + 1)]
    items = [EntitySummary.model_validate(dict(row)) for row in rows[:limit]]
    return EntityPage(items=items, next_cursor=cursors.encode(items[-1].entity_id) if len(rows) > limit else None)


@router.get("/entities/{entity_id}/versions", operation_id="list_versions", responses=documented(*_COMMON, NotFound))
async def list_versions(
    entity_id: Identifier, services: Injected, caller: Reader, limit: Limit = 100, cursor: str | None = None
) -> VersionPage:
    """The data versions of an entity, each with its sealed datasets."""
    async with services.database.tenant(caller.tenant) as connection:
        after = cursors.decode(cursor) if cursor else None
        rows = [
            row async for row in queries.list_versions(connection, tenant=caller.tenant, entity_id=entity_id, after=after, limit=limit + 1)
        ]
        if not rows and after is None:
            await acceptance.raise_not_found(connection, caller.tenant, entity_id, "", "")
    items = [VersionSummary.model_validate(dict(row)) for row in rows[:limit]]
    return VersionPage(items=items, next_cursor=cursors.encode(items[-1].data_version) if len(rows) > limit else None)


@router.get(
    "/entities/{entity_id}/versions/{data_version}/datasets/{dataset}",
    operation_id="get_dataset",
    responses=documented(*_COMMON, NotFound, Retired),
)
async def get_dataset(entity_id: Identifier, data_version: Identifier, dataset: Identifier, services: Injected, caller: Reader) -> Dataset:
    """The manifest of a sealed dataset, and a presigned URL for each of its files."""
    return await read_dataset(services, caller.tenant, entity_id, data_version, dataset)


async def read_dataset(services: Injected, tenant: str, entity_id: str, data_version: str, dataset: str) -> Dataset:
    """The dataset as the API shows it; raises `NotFound` with the nearest names, or `Retired`."""
    async with services.database.tenant(tenant) as connection:
        row = await queries.get_dataset(connection, tenant=tenant, entity_id=entity_id, data_version=data_version, dataset=dataset)
        if row is None:
            await acceptance.raise_not_found(connection, tenant, entity_id, data_version, dataset)
        await check_not_retired(connection, tenant, entity_id, data_version, [dataset])
    seconds = services.settings.presigned_seconds
    manifest = row["manifest"]
    return Dataset(
        **manifest,
        manifest=f"s3://{row['bucket']}/{row['manifest_key']}",
        manifest_sha256=row["manifest_sha256"],
        urls=tuple(
            FileUrl(key=file["key"], url=services.storage.presigned_get(row["bucket"], file["key"], seconds)) for file in manifest["files"]
        ),
    )
