"""What a tenant may use: judged before a process or an upload is accepted. What admission holds back is in `admission_queue`."""

from uuid import UUID

import asyncpg

from contracts.errors import ContractError
from contracts.http import Quota, QuotaUse
from contracts.layout import StorageRoot
from control_plane.database import Connection, queries
from control_plane.errors import Conflict, Invalid, StorageUsedUp, TooManyHeld

_HELD_RETRY_SECONDS = 5


async def check_storage(connection: Connection, tenant: str, more: int = 0) -> asyncpg.Record:
    """Judge whether anything, or `more`, may be stored still. Returns the row of limits, for further checks.

    Raises:
        StorageUsedUp: it may not.
        Conflict: it cannot; the tenant was made when a storage root might be more than it may now.
    """
    row: asyncpg.Record = await queries.limits_and_stored(connection, tenant=tenant)
    try:
        StorageRoot(row["bucket"], row["prefix"])
    except ContractError as error:
        raise Conflict(f"The tenant's storage cannot be used: {error}. Ask the platform's administrator for another tenant.") from error
    _judge_storage(row, more, "stored")
    return row


async def hold_storage(connection: Connection, tenant: str, upload_id: UUID, more: int) -> None:
    """Raise `StorageUsedUp` unless the upload's `more` bytes may be stored beside what is, and what other seals will have stored.

    Where `max_stored_bytes` is set, no other upload of the tenant is judged until the transaction ends. Whose transaction marks the upload
    as being sealed has these bytes to itself, so that the limit is exact.
    """
    row = await queries.limits_and_stored(connection, tenant=tenant)
    if row["max_stored_bytes"] is None:
        return
    await queries.hold_storage(connection, tenant=tenant)
    _judge_storage(await queries.limit_and_marked(connection, tenant=tenant, upload_id=upload_id), more, "stored or being sealed")


def _judge_storage(row: asyncpg.Record, more: int, counted: str) -> None:
    stored, most = row["stored_bytes"], row["max_stored_bytes"]
    if most is None or (stored < most and stored + more <= most):
        return
    wanted = f", this upload has {more}" if more else ""
    raise StorageUsedUp(
        f"The quota max_stored_bytes does not allow this: {stored} of {most} bytes are {counted}{wanted}. "
        "Ask the platform's administrator for a larger quota; GET /v1/quota shows it."
    )


async def check_process(connection: Connection, tenant: str, cores: int) -> None:
    """Raise unless one more process of `cores` executor cores may be accepted.

    Where `max_held` is set, no other process of the tenant is accepted until the transaction ends, so that the limit is exact.

    Raises:
        StorageUsedUp, Conflict: its result could not be stored.
        Invalid: it is larger than all that the tenant may use at once.
        TooManyHeld: too many wait already.
    """
    row = await check_storage(connection, tenant)
    most_cores, most_held = row["max_executor_cores"], row["max_held"]
    if most_cores is not None and cores > most_cores:
        wrong = {"pointer": "/resource_profile/executor_instances", "detail": f"{cores} executor cores are more than {most_cores}"}
        raise Invalid(
            f"The process takes {cores} executor cores, and the quota max_executor_cores is {most_cores}: it would never be released. "
            "Ask for fewer with resource_profile.executor_instances and executor_cores.",
            errors=[wrong],
        )
    if most_held is not None and (held := await queries.hold_acceptance(connection, tenant=tenant)) >= most_held:
        raise TooManyHeld(
            f"The quota max_held is used up: {held} of {most_held} accepted processes wait to be released. "
            "Send the request again when some have been, or cancel some.",
            retry_after=_HELD_RETRY_SECONDS,
        )


async def read(connection: Connection, tenant: str) -> Quota:
    """The tenant's limits, and what it uses of them now."""
    row = await queries.quota_use(connection, tenant=tenant)
    return Quota(
        in_flight=QuotaUse(limit=row["max_in_flight"], used=row["in_flight"]),
        held=QuotaUse(limit=row["max_held"], used=row["held"]),
        executor_cores=QuotaUse(limit=row["max_executor_cores"], used=row["executor_cores"]),
        stored_bytes=QuotaUse(limit=row["max_stored_bytes"], used=row["stored_bytes"]),
    )
