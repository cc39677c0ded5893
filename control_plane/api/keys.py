"""`/v1/keys`: a tenant's API keys. The key itself is shown once, to whoever made it."""

from datetime import timedelta
from typing import Annotated, Any
from uuid import UUID

import asyncpg
import structlog
from fastapi import APIRouter, Query, Response

from contracts.api_keys import ApiKey, IssuedKey, KeyPage, KeyRequest, KeyRotation, Role
from contracts.identifiers import new_id
from control_plane.api import cursor as cursors
from control_plane.api.auth import Admin
from control_plane.api.problems import documented
from control_plane.api.routes import Route
from control_plane.api.services import Injected
from control_plane.api_keys import key_hash, new_key, visible_part
from control_plane.database import Connection, queries
from control_plane.errors import Conflict, Forbidden, Invalid, Malformed, NotFound, RateLimited, TooLarge, Unauthenticated, Unavailable

router = APIRouter(prefix="/v1/keys", tags=["keys"], route_class=Route)
log = structlog.get_logger()
_COMMON = (Unauthenticated, Forbidden, Invalid, RateLimited, Unavailable)
_BODY = (Malformed, TooLarge)


@router.get("", operation_id="list_keys", responses=documented(*_COMMON))
async def list_keys(
    services: Injected, caller: Admin, limit: Annotated[int, Query(ge=1, le=200)] = 50, cursor: str | None = None
) -> KeyPage:
    """The tenant's keys, newest first, those that are over too; never the keys themselves."""
    before = cursors.decode_id(cursor)
    async with services.database.tenant(caller.tenant) as connection:
        rows = [row async for row in queries.list_keys(connection, tenant=caller.tenant, before=before, limit=limit + 1)]
    items = [ApiKey.model_validate(dict(row)) for row in rows[:limit]]
    return KeyPage(items=items, next_cursor=cursors.encode(str(items[-1].id)) if len(rows) > limit else None)


@router.post("", operation_id="create_key", status_code=201, responses=documented(*_COMMON, *_BODY))
async def create(body: KeyRequest, response: Response, services: Injected, caller: Admin) -> IssuedKey:
    """Make a key. This answer is the only one that shows it."""
    life = timedelta(seconds=body.expires_in_seconds) if body.expires_in_seconds is not None else None
    async with services.database.tenant(caller.tenant) as connection:
        issued = await _issue(connection, caller.tenant, body.name, body.role, life)
    log.info("key made", key_id=str(issued.id), role=issued.role, tenant=caller.tenant, by=caller.name)
    return _shown_once(response, issued)


@router.post("/{key_id}/rotate", operation_id="rotate_key", status_code=201, responses=documented(*_COMMON, *_BODY, NotFound, Conflict))
async def rotate(key_id: UUID, body: KeyRotation, response: Response, services: Injected, caller: Admin) -> IssuedKey:
    """Make a key of the same name and role; the old one ends after the grace. This answer is the only one that shows the new key."""
    async with services.database.tenant(caller.tenant) as connection:
        await queries.lock_keys(connection, tenant=caller.tenant)
        old = await _get(connection, caller.tenant, key_id)
        if old["state"] != "active":
            raise Conflict(f"The key is {old['state']}; make a new one with POST /v1/keys.")
        life = timedelta(seconds=body.expires_in_seconds) if body.expires_in_seconds is not None else old["life"]
        issued = await _issue(connection, caller.tenant, old["name"], old["role"], life)
        await queries.end_key(connection, tenant=caller.tenant, id=key_id, grace=timedelta(seconds=body.grace_seconds))
    log.info("key replaced", key_id=str(key_id), new_key_id=str(issued.id), tenant=caller.tenant, by=caller.name)
    return _shown_once(response, issued)


@router.post("/{key_id}/revoke", operation_id="revoke_key", responses=documented(*_COMMON, NotFound, Conflict))
async def revoke(key_id: UUID, services: Injected, caller: Admin) -> ApiKey:
    """End a key at once. Safe to repeat. The tenant's last admin key that is good stays: without it nobody could make another."""
    async with services.database.tenant(caller.tenant) as connection:
        await queries.lock_keys(connection, tenant=caller.tenant)
        key = await _get(connection, caller.tenant, key_id)
        if (
            key["role"] == "admin"
            and key["state"] == "active"
            and not await queries.other_admin_key(connection, tenant=caller.tenant, id=key_id)
        ):
            raise Conflict(
                "This is the tenant's last admin key that is good; without it nobody could make another. Make one first, then revoke this."
            )
        await queries.revoke_key(connection, tenant=caller.tenant, id=key_id)
        revoked = await _get(connection, caller.tenant, key_id)
    log.info("key revoked", key_id=str(key_id), tenant=caller.tenant, by=caller.name)
    return ApiKey.model_validate(dict(revoked))


async def _issue(connection: Connection, tenant: str, name: str, role: Role, life: timedelta | None) -> IssuedKey:
    key, key_id = new_key(), new_id()
    fields: dict[str, Any] = {"name": name, "role": role, "key_prefix": visible_part(key), "key_hash": key_hash(key), "life": life}
    await queries.issue_key(connection, tenant=tenant, id=key_id, **fields)
    return IssuedKey(**dict(await _get(connection, tenant, key_id)), key=key)


async def _get(connection: Connection, tenant: str, key_id: UUID) -> asyncpg.Record:
    row: asyncpg.Record | None = await queries.get_key(connection, tenant=tenant, id=key_id)
    if row is None:
        raise NotFound(f"There is no key {key_id}; GET /v1/keys lists yours.")
    return row


def _shown_once(response: Response, issued: IssuedKey) -> IssuedKey:
    response.headers["Cache-Control"] = "no-store"
    return issued
