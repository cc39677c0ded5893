"""Tenants, what they may use, and their API keys."""

from collections.abc import Mapping
from typing import Literal

from contracts.identifiers import new_id
from control_plane.api_keys import key_hash, visible_part
from control_plane.database import Database, queries
from control_plane.errors import ControlPlaneError
from control_plane.settings import DatabaseSettings

_SHORTEST_KEY = 24

Limit = Literal["max_held", "max_executor_cores", "max_stored_bytes"]
Limits = Mapping[Limit, int | None]
"""Limits to set; None takes one away. Those that are not named stay as they are."""


def limit(text: str) -> int | None:
    """A limit as it is typed: a number from 1 on, or `none`. Raises `ValueError`."""
    if text == "none":
        return None
    if not (text.isdecimal() and int(text) > 0):
        raise ValueError(f"{text!r} is neither a number from 1 on nor `none`")
    return int(text)


async def provision(
    settings: DatabaseSettings,
    tenant: str,
    bucket: str,
    prefix: str,
    max_in_flight: int,
    key: str,
    role: str,
    limits: Limits | None = None,
) -> None:
    """Create the tenant and the key unless they exist; the cap and the named limits are brought up to date."""
    if len(key) < _SHORTEST_KEY:
        raise ControlPlaneError(f"the API key has {len(key)} characters; make one of at least {_SHORTEST_KEY} random ones")
    database = Database(settings)
    try:
        async with database.transaction() as connection:
            rival = await queries.tenant_inside(connection, id=tenant, bucket=bucket, prefix=prefix)
            if rival is not None:
                raise ControlPlaneError(
                    f"s3://{bucket}/{prefix} and the storage of tenant {rival!r} lie inside one another; choose another prefix"
                )
            await queries.put_tenant(connection, id=tenant, bucket=bucket, prefix=prefix, max_in_flight=max_in_flight)
            if limits:
                await queries.set_limits(connection, id=tenant, limits=dict(limits))
            await queries.put_key(connection, id=new_id(), tenant=tenant, role=role, key_prefix=visible_part(key), key_hash=key_hash(key))
    finally:
        await database.close()
