"""Tenants, what they may use, and their API keys."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from contracts.errors import ContractError
from contracts.identifiers import Tenant, new_id
from contracts.layout import StorageRoot
from control_plane.api_keys import key_hash, visible_part
from control_plane.database import Connection, Database, queries
from control_plane.errors import ControlPlaneError
from control_plane.settings import DatabaseSettings

_SHORTEST_KEY = 24
_tenant: TypeAdapter[str] = TypeAdapter(Tenant)

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
    """Create the tenant and the key unless they exist; the cap and the named limits are brought up to date.

    Raises:
        ControlPlaneError: the key is too short; or the name or place is none, see `judge_storage`. Nothing was made.
    """
    check_names(tenant, bucket, prefix)
    if len(key) < _SHORTEST_KEY:
        raise ControlPlaneError(f"the API key has {len(key)} characters; make one of at least {_SHORTEST_KEY} random ones")
    database = Database(settings)
    try:
        async with database.transaction() as connection:
            await _judge_storage(connection, tenant, bucket, prefix)
            await queries.put_tenant(connection, id=tenant, bucket=bucket, prefix=prefix, max_in_flight=max_in_flight)
            if limits:
                await queries.set_limits(connection, id=tenant, limits=dict(limits))
            await queries.put_key(connection, id=new_id(), tenant=tenant, role=role, key_prefix=visible_part(key), key_hash=key_hash(key))
    finally:
        await database.close()


def check_names(tenant: str, bucket: str, prefix: str) -> None:
    """Whether commands can name the tenant and its storage. Raises `ControlPlaneError`."""
    try:
        _tenant.validate_python(tenant)
    except ValidationError as error:
        raise ControlPlaneError(
            f"{tenant!r} is no name of a tenant: take small letters, digits and '-', at most 40, and no '-' at the ends"
        ) from error
    try:
        StorageRoot(bucket, prefix)
    except ContractError as error:
        raise ControlPlaneError(f"the tenant {tenant!r} cannot be made: {error}") from error


async def judge_storage(settings: DatabaseSettings, tenant: str, bucket: str, prefix: str) -> None:
    """Whether a tenant could be made there, or is there already.

    Raises:
        ControlPlaneError: the name or the place is none, the place is inside of another tenant's, or around it, or the tenant's data
            lies elsewhere.
    """
    check_names(tenant, bucket, prefix)
    database = Database(settings)
    try:
        async with database.connection() as connection:
            await _judge_storage(connection, tenant, bucket, prefix)
    finally:
        await database.close()


async def _judge_storage(connection: Connection, tenant: str, bucket: str, prefix: str) -> None:
    rival = await queries.tenant_inside(connection, id=tenant, bucket=bucket, prefix=prefix)
    if rival is not None:
        raise ControlPlaneError(f"s3://{bucket}/{prefix} and the storage of tenant {rival!r} lie inside one another; choose another prefix")
    known = await queries.get_tenant(connection, id=tenant)
    if known is not None and (known["bucket"], known["prefix"]) != (bucket, prefix):
        raise ControlPlaneError(
            f"the data of tenant {tenant!r} lies in s3://{known['bucket']}/{known['prefix']}, not in s3://{bucket}/{prefix}; "
            "a tenant's storage does not move: give the bucket and prefix it has, or make a tenant of another name"
        )


@dataclass(frozen=True, slots=True)
class Closing:
    """What closing a tenant did. `keys_ended` is None when it was refused, because of `unfinished` processes."""

    tenant: str
    unfinished: int
    keys_ended: int | None


async def close(settings: DatabaseSettings, tenant: str, *, force: bool) -> Closing:
    """End all API keys of a tenant, known or not; refused while processes have not ended, unless `force`. Nothing is cancelled."""
    database = Database(settings)
    try:
        async with database.transaction() as connection:
            await queries.lock_keys(connection, tenant=tenant)
            ended = int(await queries.revoke_all_keys(connection, tenant=tenant))
            unfinished = int(await queries.unfinished(connection, tenant=tenant))
            if unfinished and not force:
                raise _StillBusy(unfinished)
    except _StillBusy as busy:
        return Closing(tenant, busy.unfinished, None)
    finally:
        await database.close()
    return Closing(tenant, unfinished, ended)


class _StillBusy(Exception):
    """Rolls the transaction back."""

    def __init__(self, unfinished: int) -> None:
        self.unfinished = unfinished
