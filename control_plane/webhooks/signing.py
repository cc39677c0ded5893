"""Signatures by Standard Webhooks (standardwebhooks.com), and the secrets of tenants that make them.

A secret must be usable, so it cannot be hashed. It lies in a table of its own, is read only to sign and for the tenant's admin, and is
`SecretStr` in between: no log, event or error can show it by accident.
"""

import base64
import secrets
from collections.abc import Sequence
from datetime import datetime

from pydantic import SecretStr
from standardwebhooks.webhooks import Webhook

from contracts.identifiers import new_id
from control_plane.database import Connection, queries
from control_plane.errors import Conflict

PREFIX = "whsec_"
_SECRET_BYTES = 32


def new_secret() -> SecretStr:
    """A random secret, as receivers' libraries take it."""
    return SecretStr(PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode())


def headers(keys: Sequence[SecretStr], delivery_id: str, moment: datetime, body: bytes) -> dict[str, str]:
    """The three headers. Every secret that is still good signs, so that a receiver may know either."""
    signatures = [Webhook(key.get_secret_value()).sign(delivery_id, moment, body.decode()) for key in keys]
    return {
        "webhook-id": delivery_id,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


async def keys_of(connection: Connection, tenant: str) -> list[SecretStr]:
    """The secrets that sign for a tenant, newest first; its first one is made when it is needed."""
    found = [SecretStr(row["secret"]) async for row in queries.webhook_secrets(connection, tenant=tenant)]
    if found:
        return found
    await queries.make_webhook_secret(connection, id=new_id(), tenant=tenant, secret=new_secret().get_secret_value())
    return [SecretStr(row["secret"]) async for row in queries.webhook_secrets(connection, tenant=tenant)]


async def rotate(connection: Connection, tenant: str, keep_seconds: int) -> None:
    """Put a new secret in the place of the newest, which signs beside it for `keep_seconds`; older ones end. In a transaction."""
    await keys_of(connection, tenant)
    newest = await queries.lock_webhook_secret(connection, tenant=tenant)
    if newest is None:
        raise Conflict("The secret was replaced by somebody else just now; look at it before you replace it again.")
    await queries.forget_webhook_secrets(connection, tenant=tenant)
    await queries.retire_webhook_secret(connection, id=newest, keep_seconds=keep_seconds)
    await queries.make_webhook_secret(connection, id=new_id(), tenant=tenant, secret=new_secret().get_secret_value())
