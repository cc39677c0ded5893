"""The `relay` role: admission, then outbox -> Kafka. One leader at a time, by advisory lock on the connection it works with."""

import asyncio
from datetime import timedelta
from typing import Any

import asyncpg
import structlog

from contracts.command import AttemptRef, CancelCommand, Command, DatasetName, InputDataset, ResourceProfile, covered_digest
from contracts.layout import StorageRoot
from contracts.pulse import Pulse
from contracts.signing_keys import LiveKeyRing, Signer
from contracts.topics import Topics
from control_plane import metrics, signing_keys
from control_plane.broker import Outgoing, Publisher
from control_plane.database import connect, passing_errors, queries
from control_plane.errors import Unavailable
from control_plane.role import pause
from control_plane.settings import RelaySettings

log = structlog.get_logger()
_LEADER_LOCK = 0x52454C4159


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
    """Publish what is ready. Returns how many messages were delivered, and how many were tried."""
    rows = [row async for row in queries.ready_messages(connection, limit=settings.publish_batch)]
    # an attempt that is past `released` was published before, by a relay that died before it could mark it; or it was cancelled
    settled = [row["id"] for row in rows if row["kind"] == "run" and row["rank"] > 10]
    batch = [outgoing(row, settings.topics, keys, settings.callback_url) for row in rows if row["id"] not in settled]
    delivered = await publisher.publish(batch) if batch else []
    metrics.PUBLISH_ERRORS.inc(len(batch) - len(delivered))
    if delivered or settled:
        await queries.mark_published(connection, ids=delivered + settled)
    for message in batch:
        if message.tag in delivered:
            metrics.PUBLISHED.labels("cancel" if message.topic == settings.topics.cancels else "run").inc()
    return len(delivered), len(batch)


async def _end_strays(connection: asyncpg.Connection, settings: RelaySettings, keys: Signer, publisher: Publisher) -> None:
    """Publish the cancels of jobs that no attempt knows. They have no place in the outbox: its rows are of processes."""
    rows = [row async for row in queries.stray_cancels(connection, limit=settings.publish_batch)]
    if not rows:
        return
    delivered = await publisher.publish([outgoing(row, settings.topics, keys, settings.callback_url) for row in rows])
    metrics.PUBLISH_ERRORS.inc(len(rows) - len(delivered))
    metrics.PUBLISHED.labels("cancel").inc(len(delivered))
    await queries.mark_strays_told(connection, ids=delivered)


def outgoing(row: asyncpg.Record, topics: Topics, keys: Signer, callback_url: str) -> Outgoing:
    """The message of an outbox row, or of a stray job's. The same row always gives the same command."""
    ref = AttemptRef(tenant=row["tenant"], process_id=row["process_id"], step=row["step"], attempt=row["attempt"])
    message: CancelCommand | Command
    if row["kind"] == "cancel":
        token = keys.sign("stratum:cancel", ref, row["now"] + timedelta(days=1))
        message = CancelCommand(**ref.model_dump(), message_id=row["message_id"], flow_token=token)
    else:
        unsigned = _command(row, ref, callback_url)
        token = keys.sign("stratum:start", ref, row["start_before"], work=covered_digest(unsigned.model_dump_json().encode()))
        message = unsigned.model_copy(update={"flow_token": token})
    return Outgoing(
        tag=row["id"],
        topic=topics.cancels if row["kind"] == "cancel" else topics.commands,
        key=str(row["process_id"]),
        value=message.model_dump_json().encode(),
        headers={"traceparent": row["traceparent"]} if row["traceparent"] else {},
    )


def _command(row: asyncpg.Record, ref: AttemptRef, callback_url: str) -> Command:
    """All of the message but its token, which covers the rest."""
    version = row["output_data_version"]
    rejected = row["rejected_dataset"]
    fields: dict[str, Any] = {name: row[name] for name in ("entity_id", "data_version", "action", "parameters", "action_revision")}
    return Command(
        **ref.model_dump(),
        **fields,
        message_id=row["message_id"],
        image=row["image"],
        entry_point=row["entry_point"],
        inputs=tuple(InputDataset.model_validate(item) for item in row["inputs"]),
        output=DatasetName(data_version=version, dataset=row["output_dataset"]),
        rejected_output=DatasetName(data_version=version, dataset=rejected) if rejected else None,
        storage_root=StorageRoot(row["bucket"], row["prefix"]).uri,
        callback_url=callback_url,
        start_before=row["start_before"],
        time_limit_seconds=row["limits"]["time_limit_seconds"],
        resource_profile=ResourceProfile.model_validate(row["resource_profile"]) if row["resource_profile"] else None,
        flow_token="-",  # noqa: S106  # put in once the rest can be signed
        traceparent=row["traceparent"],
    )
