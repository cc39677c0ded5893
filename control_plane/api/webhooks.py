"""`/v1/webhooks`: the deliveries of a tenant, sent again where asked, and the secrets that sign them."""

from typing import Annotated
from uuid import UUID

import asyncpg
from fastapi import APIRouter, Query, Response

from contracts.webhook import DeliveryState, SecretRotation, WebhookDelivery, WebhookPage, WebhookSecret, WebhookSecrets
from control_plane.api import cursor as cursors
from control_plane.api.auth import Admin, Reader, Writer
from control_plane.api.problems import documented
from control_plane.api.routes import Route
from control_plane.api.services import Injected
from control_plane.database import Connection, queries
from control_plane.errors import Conflict, Forbidden, Invalid, NotFound, RateLimited, Unauthenticated, Unavailable
from control_plane.webhooks import signing

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"], route_class=Route)
_COMMON = (Unauthenticated, Invalid, RateLimited, Unavailable)


@router.get("", operation_id="list_webhooks", responses=documented(*_COMMON))
async def list_webhooks(
    services: Injected,
    caller: Reader,
    state: DeliveryState | None = None,
    process_id: UUID | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: str | None = None,
) -> WebhookPage:
    """The tenant's deliveries, newest first."""
    async with services.database.tenant(caller.tenant) as connection:
        found = queries.list_webhooks(
            connection,
            tenant=caller.tenant,
            state=state.value if state else None,
            process_id=process_id,
            before=cursors.decode_id(cursor),
            limit=limit + 1,
        )
        rows = [row async for row in found]
    items = [_delivery(row) for row in rows[:limit]]
    return WebhookPage(items=items, next_cursor=cursors.encode(str(items[-1].id)) if len(rows) > limit else None)


# the secret's fixed path comes before the path with an id
@router.get("/secret", operation_id="read_webhook_secrets", responses=documented(*_COMMON, Forbidden))
async def read_secrets(response: Response, services: Injected, caller: Admin) -> WebhookSecrets:
    """The secrets that sign the tenant's deliveries: one, and until it retires the one before. For admins."""
    response.headers["Cache-Control"] = "no-store"
    async with services.database.tenant(caller.tenant) as connection:
        return await _secrets(connection, caller.tenant)


@router.post("/secret/rotate", operation_id="rotate_webhook_secret", responses=documented(*_COMMON, Forbidden, Conflict))
async def rotate_secret(response: Response, services: Injected, caller: Admin, body: SecretRotation | None = None) -> WebhookSecrets:
    """Replace the secret. The replaced one signs beside the new one for `keep_seconds`; one replaced before ends at once. For admins."""
    response.headers["Cache-Control"] = "no-store"
    async with services.database.tenant(caller.tenant) as connection:
        await signing.rotate(connection, caller.tenant, (body or SecretRotation()).keep_seconds)
        return await _secrets(connection, caller.tenant)


@router.get("/{delivery_id}", operation_id="get_webhook", responses=documented(*_COMMON, NotFound))
async def get(delivery_id: UUID, services: Injected, caller: Reader) -> WebhookDelivery:
    """One delivery: state, attempts, what the last one met, and when the next is due."""
    async with services.database.tenant(caller.tenant) as connection:
        row = await queries.get_webhook(connection, tenant=caller.tenant, id=delivery_id)
    if row is None:
        raise _not_found(delivery_id)
    return _delivery(row)


@router.post("/{delivery_id}/replay", operation_id="replay_webhook", status_code=202, responses=documented(*_COMMON, Forbidden, NotFound))
async def replay(delivery_id: UUID, services: Injected, caller: Writer) -> WebhookDelivery:
    """Send it again, now, under the same `webhook-id`, whether it was delivered, given up, or waits for its next try."""
    async with services.database.tenant(caller.tenant) as connection:
        row = await queries.replay_webhook(connection, tenant=caller.tenant, id=delivery_id)
    if row is None:
        raise _not_found(delivery_id)
    return _delivery(row)


def _delivery(row: asyncpg.Record) -> WebhookDelivery:
    waits = row["state"] == DeliveryState.WAITING
    url = row["url"].partition("?")[0].partition("#")[0]
    return WebhookDelivery.model_validate({**dict(row), "url": url, "next_try_at": row["due_at"] if waits else None})


async def _secrets(connection: Connection, tenant: str) -> WebhookSecrets:
    await signing.keys_of(connection, tenant)
    found = queries.webhook_secrets(connection, tenant=tenant)
    return WebhookSecrets(items=[WebhookSecret.model_validate(dict(row)) async for row in found])


def _not_found(delivery_id: UUID) -> NotFound:
    return NotFound(f"There is no webhook delivery {delivery_id}. GET /v1/webhooks lists them.")
