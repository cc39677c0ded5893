"""The `relay` role: admission, then outbox -> Kafka. One leader at a time, by advisory lock on the connection it works with."""

import asyncio
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import asyncpg
import structlog
from pydantic import ValidationError

from contracts.command import AttemptRef, CancelCommand, Command, DatasetName, ResourceProfile, covered_digest
from contracts.errors import ContractError
from contracts.layout import StorageRoot
from contracts.pulse import Pulse
from contracts.signing_keys import LiveKeyRing, Signer
from contracts.states import AttemptState
from contracts.topics import Topics
from control_plane import lifecycle, metrics, signing_keys
from control_plane.broker import Outgoing, Publisher
from control_plane.database import connect, passing_errors, queries
from control_plane.errors import Unavailable, Unmakable
from control_plane.lifecycle import Ending
from control_plane.role import pause
from control_plane.settings import RelaySettings

log = structlog.get_logger()
_LEADER_LOCK = 0x52454C4159
_NO_TOKEN = "-"  # noqa: S105  # put in once the rest can be signed


async def run(settings: RelaySettings, stop: asyncio.Event, pulse: Pulse) -> None:
    """Lead, or wait to lead, until `stop`. A lost connection loses the lead."""
    keys = LiveKeyRing(settings.signing_key_file, signing_keys.report)
    publisher = Publisher(settings, "stratum-relay")
    while not stop.is_set():
        pulse.beat("relay")
        try:
            connection = await connect(settings)
        except Unavailable as error:
            log.warning("waiting for the database", error=str(error))
            await pause(1, stop)
            continue
        try:
            async with passing_errors():
                await _lead(connection, settings, keys, publisher, stop, pulse)
        except Unavailable as error:
            log.warning("lost the database", error=str(error))
        finally:
            connection.terminate()


async def _lead(
    connection: asyncpg.Connection, settings: RelaySettings, keys: Signer, publisher: Publisher, stop: asyncio.Event, pulse: Pulse
) -> None:
    while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LEADER_LOCK):
        pulse.beat("relay")
        await pause(1, stop)
        if stop.is_set():
            return
    log.info("leading")
    while not stop.is_set():
        pulse.beat("relay")
        released = await queries.release(connection, max_in_flight=settings.max_in_flight)
        metrics.RELEASED.inc(released)
        published, waiting = await _publish(connection, settings, keys, publisher)
        await _end_strays(connection, settings, keys, publisher)
        if waiting and not published:
            await pause(1, stop)
        elif not released and not published:
            await pause(settings.poll_seconds, stop)


async def _publish(connection: asyncpg.Connection, settings: RelaySettings, keys: Signer, publisher: Publisher) -> tuple[int, int]:
    """Publish what is ready, and end what no message can be made of. Returns how many were delivered, and how many were tried."""
    rows = [row async for row in queries.ready_messages(connection, limit=settings.publish_batch)]
    # an attempt that is past `released` was published before, by a relay that died before it could mark it; or it was cancelled
    settled = [row["id"] for row in rows if row["kind"] == "run" and row["rank"] > 10]
    batch, unmakable = _made((row for row in rows if row["id"] not in settled), settings, keys)
    delivered = await publisher.publish(batch) if batch else []
    metrics.PUBLISH_ERRORS.inc(len(batch) - len(delivered))
    if delivered or settled:
        await queries.mark_published(connection, ids=delivered + settled)
    for message in batch:
        if message.tag in delivered:
            metrics.PUBLISHED.labels("cancel" if message.topic == settings.topics.cancels else "run").inc()
    for row, reason in unmakable:
        await _give_up(connection, settings, row, reason)
    return len(delivered), len(batch)


async def _end_strays(connection: asyncpg.Connection, settings: RelaySettings, keys: Signer, publisher: Publisher) -> None:
    """Publish the cancels of jobs that no attempt knows. They have no place in the outbox: its rows are of processes."""
    rows = [row async for row in queries.stray_cancels(connection, limit=settings.publish_batch)]
    if not rows:
        return
    batch, unmakable = _made(rows, settings, keys)
    delivered = await publisher.publish(batch)
    metrics.PUBLISH_ERRORS.inc(len(batch) - len(delivered))
    metrics.PUBLISHED.labels("cancel").inc(len(delivered))
    for row, error in unmakable:
        _tell(row, error)
    await queries.mark_strays_told(connection, ids=delivered + [row["id"] for row, _ in unmakable])


def _made(
    rows: Iterable[asyncpg.Record], settings: RelaySettings, keys: Signer
) -> tuple[list[Outgoing], list[tuple[asyncpg.Record, Unmakable]]]:
    """The messages of outbox rows, and the rows that give none."""
    batch: list[Outgoing] = []
    unmakable: list[tuple[asyncpg.Record, Unmakable]] = []
    for row in rows:
        try:
            batch.append(outgoing(row, settings.topics, keys, settings.callback_url))
        except Unmakable as error:
            unmakable.append((row, error))
    return batch, unmakable


def _tell(row: asyncpg.Record, error: Unmakable) -> None:
    metrics.UNMAKABLE.labels(row["kind"]).inc()
    log.error("a message cannot be made", exc_info=error, kind=row["kind"], process_id=str(row["process_id"]), attempt=row["attempt"])


async def _give_up(connection: asyncpg.Connection, settings: RelaySettings, row: asyncpg.Record, error: Unmakable) -> None:
    """End what no message can be made of, for good: a restart would meet the same row. Nobody else's work may pay for it."""
    _tell(row, error)
    try:
        async with passing_errors(), connection.transaction():
            await _end_unmakable(connection, settings, row, error)
            await queries.mark_published(connection, ids=[row["id"]])
    except Unavailable:
        raise
    except Exception:
        log.exception("its attempt cannot be ended either; tried again", process_id=str(row["process_id"]), attempt=row["attempt"])


async def _end_unmakable(connection: asyncpg.Connection, settings: RelaySettings, row: asyncpg.Record, error: Unmakable) -> None:
    current = await lifecycle.lock(connection, row["process_id"])
    if current is None or (current.step, current.attempt) != (row["step"], row["attempt"]):
        return
    if row["kind"] == "cancel":
        # it names the attempt and nothing more: where that cannot be named, no command was, and there is no job
        await lifecycle.job_gone(connection, current)
    elif current.attempt_state is AttemptState.RELEASED:
        ending = Ending(AttemptState.FAILED, "INVALID_COMMAND", str(error), retryable=False)
        await lifecycle.ended(connection, current, ending, settings.retry_delay_seconds)


def outgoing(row: asyncpg.Record, topics: Topics, keys: Signer, callback_url: str) -> Outgoing:
    """The message of an outbox row. The same row always gives the same command.

    Raises:
        Unmakable: it gives none. What is wrong with the keys, which is nothing of the row's, is raised as it is.
    """
    try:
        unsigned = _unsigned(row, callback_url)
    except (ValidationError, ContractError) as error:
        raise Unmakable(f"no command can be made of it: {_what_is_wrong(error)}") from error
    except Exception as error:
        raise Unmakable(f"a defect of Stratum ({type(error).__name__}) kept its command from being made") from error
    if isinstance(unsigned, CancelCommand):
        token = keys.sign("stratum:cancel", unsigned, row["now"] + timedelta(days=1))
    else:
        token = keys.sign("stratum:start", unsigned, row["start_before"], work=covered_digest(unsigned.model_dump_json().encode()))
    message = unsigned.model_copy(update={"flow_token": token})
    return Outgoing(
        tag=row["id"],
        topic=topics.cancels if row["kind"] == "cancel" else topics.commands,
        key=str(row["process_id"]),
        value=message.model_dump_json().encode(),
        headers={"traceparent": row["traceparent"]} if row["traceparent"] else {},
    )


def _what_is_wrong(error: ValidationError | ContractError) -> str:
    if isinstance(error, ContractError):
        return str(error)
    return "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors(include_url=False))


def _unsigned(row: asyncpg.Record, callback_url: str) -> Command | CancelCommand:
    """All of the message but its token, which covers the rest of a command."""
    ref = AttemptRef(tenant=row["tenant"], process_id=row["process_id"], step=row["step"], attempt=row["attempt"])
    if row["kind"] == "cancel":
        return CancelCommand(**ref.model_dump(), message_id=row["message_id"], flow_token=_NO_TOKEN)
    version = row["output_data_version"]
    rejected = row["rejected_dataset"]
    fields: dict[str, Any] = {name: row[name] for name in ("entity_id", "data_version", "action", "parameters", "action_revision")}
    return Command(
        **ref.model_dump(),
        **fields,
        message_id=row["message_id"],
        image=row["image"],
        entry_point=row["entry_point"],
        inputs=tuple(row["inputs"]),
        output=DatasetName(data_version=version, dataset=row["output_dataset"]),
        rejected_output=DatasetName(data_version=version, dataset=rejected) if rejected else None,
        storage_root=StorageRoot(row["bucket"], row["prefix"]).uri,
        callback_url=callback_url,
        start_before=row["start_before"],
        time_limit_seconds=row["limits"]["time_limit_seconds"],
        resource_profile=ResourceProfile.model_validate(row["resource_profile"]) if row["resource_profile"] else None,
        flow_token=_NO_TOKEN,
        traceparent=row["traceparent"],
    )
