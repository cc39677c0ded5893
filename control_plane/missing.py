"""What a request names and does not exist: said with the nearest names that do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from control_plane.database import Connection, Database, queries
from control_plane.errors import Missing, NotFound
from control_plane.nearest import did_you_mean, nearest

_MOST_CANDIDATES = 200
"""How many names are compared letter by letter: that takes a millisecond for each."""


@asynccontextmanager
async def with_suggestions(database: Database, tenant: str) -> AsyncIterator[None]:
    """Turn `Missing` of the block into `NotFound` with suggestions, which are looked for when the block's transaction is over."""
    try:
        yield
    except Missing as missing:
        raise await _not_found(database, tenant, missing) from missing


async def _not_found(database: Database, tenant: str, missing: Missing) -> NotFound:
    """The first of the three names that does not exist."""
    entity_id, data_version, dataset = missing.entity_id, missing.data_version, missing.dataset
    async with database.tenant(tenant) as connection:
        known = await queries.known_places(connection, tenant=tenant, entity_id=entity_id, data_version=data_version)
        where: dict[str, str] = {"tenant": tenant}
        if not known["entity"]:
            wanted, candidates = entity_id, await _candidates(connection, queries.near_entities, entity_id, where)
        elif not known["version"]:
            where["entity_id"] = entity_id
            wanted, candidates = data_version, await _candidates(connection, queries.near_versions, data_version, where)
        else:
            where |= {"entity_id": entity_id, "data_version": data_version}
            wanted, candidates = dataset, await _candidates(connection, queries.near_datasets, dataset, where)
    near = await asyncio.to_thread(nearest, wanted, candidates)
    if not known["entity"]:
        return NotFound(f"There is no entity {entity_id!r}.{did_you_mean(near)} Ingest its data first.", suggestions=near)
    if not known["version"]:
        return NotFound(f"Entity {entity_id!r} has no data version {data_version!r}.{did_you_mean(near)}", suggestions=near)
    return NotFound(f"There is no sealed dataset {dataset!r} in {entity_id}/{data_version}.{did_you_mean(near)}", suggestions=near)


async def _candidates(connection: Connection, query: Any, wanted: str, where: dict[str, str]) -> list[str]:
    looked_for = {"pairs": _pairs(wanted), "length": len(wanted), "most": _MOST_CANDIDATES}
    return [row["name"] async for row in query(connection, **where, **looked_for)]


def _pairs(name: str) -> list[str]:
    """The name's neighbouring letters, each pair once: cheap to look for, and a near name shares most of them."""
    pairs = [name[place : place + 2] for place in range(max(1, len(name) - 1))]
    return list(dict.fromkeys(pairs))
