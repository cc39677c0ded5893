"""`/v1/actions` and `/v1/entities`: what can be done, and what is there."""

from typing import Annotated

import asyncpg
from fastapi import APIRouter, Query, Response

from contracts.http import (
    ActionDescription,
    ActionList,
    Dataset,
    DatasetSummary,
    EntityPage,
    EntitySummary,
    VersionPage,
    VersionSummary,
)
from contracts.identifiers import Identifier
from control_plane.api import cursor as cursors
from control_plane.api.auth import Reader
from control_plane.api.dataset_document import dataset_response
from control_plane.api.problems import documented
from control_plane.api.routes import Route
from control_plane.api.services import Injected
from control_plane.database import queries
from control_plane.errors import Invalid, Missing, NotFound, RateLimited, Retired, Unauthenticated, Unavailable
from control_plane.missing import with_suggestions

router = APIRouter(prefix="/v1", tags=["data"], route_class=Route)
_COMMON = (Unauthenticated, Invalid, Unavailable, RateLimited)
MOST_DATASETS = 1000
"""Of a page of versions, all versions together."""
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
    """The data versions of an entity, each with its sealed datasets. One with very many goes on, under its name, on the next page."""
    async with with_suggestions(services.database, caller.tenant), services.database.tenant(caller.tenant) as connection:
        after, _, after_dataset = (cursors.decode(cursor) if cursor else "").partition("/")
        found = queries.list_versions(
            connection,
            tenant=caller.tenant,
            entity_id=entity_id,
            after=after or None,
            after_dataset=after_dataset or None,
            limit=MOST_DATASETS + 1,
        )
        rows = [row async for row in found]
        if not rows and not after:
            raise Missing(entity_id, "", "")
    return _versions(rows, limit)


def _versions(rows: list[asyncpg.Record], limit: int) -> VersionPage:
    """As many of the rows as fit on a page of `limit` versions."""
    items: list[VersionSummary] = []
    for place, row in enumerate(rows):
        begins = not items or items[-1].data_version != row["data_version"]
        if place == MOST_DATASETS or (begins and len(items) == limit):
            last = items[-1]
            return VersionPage(items=items, next_cursor=cursors.encode(f"{last.data_version}/{last.datasets[-1].dataset}"))
        if begins:
            items.append(VersionSummary(data_version=row["data_version"], datasets=[]))
        items[-1].datasets.append(DatasetSummary.model_validate(dict(row)))
    return VersionPage(items=items, next_cursor=None)


@router.get(
    "/entities/{entity_id}/versions/{data_version}/datasets/{dataset}",
    operation_id="get_dataset",
    response_model=Dataset,
    responses=documented(*_COMMON, NotFound, Retired),
)
async def get_dataset(entity_id: Identifier, data_version: Identifier, dataset: Identifier, services: Injected, caller: Reader) -> Response:
    """The manifest of a sealed dataset, and a presigned URL for each of its files."""
    return await dataset_response(services, caller.tenant, entity_id, data_version, dataset)
