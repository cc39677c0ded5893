"""The `reconcile` role: events -> state, deadlines, sealing, sweeping. Any number may run; none needs another."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

import structlog
from confluent_kafka import Message
from pydantic import ValidationError

from contracts.event import launcher_event
from contracts.pulse import Pulse
from contracts.states import AttemptState
from contracts.topics import dead_letter
from control_plane import lifecycle, metrics, observations, proposals, seal
from control_plane.broker import Outgoing, Publisher, Subscriber
from control_plane.database import Database, queries
from control_plane.deadlines import enforce_deadlines, tell_on_the_way, tell_unwatched
from control_plane.errors import ProposalRejected, StorageUnavailable, Unavailable
from control_plane.lifecycle import Current, Ending
from control_plane.proposals import Checked
from control_plane.role import connected, pause
from control_plane.settings import ReconcileSettings
from control_plane.storage import Storage
from control_plane.sweeper import sweep as sweeps
from control_plane.sweeper.sweeper import Sweeper

log = structlog.get_logger()
_SEAL_LEASE_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Reconciler:
    """The parts of the role."""

    settings: ReconcileSettings
    database: Database
    storage: Storage
    pulse: Pulse = field(default_factory=Pulse)

    async def has_proposal(self, current: Current) -> bool:
        """Whether the granted run of `current` left a proposal."""
        return await asyncio.to_thread(proposals.exists, self.storage, current)


async def run(settings: ReconcileSettings, stop: asyncio.Event, pulse: Pulse) -> None:
    """Reconcile until `stop`."""
    reconciler = Reconciler(settings, Database(settings), Storage(settings), pulse)
    try:
        await connected(reconciler.database, stop, pulse, "events")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_events(reconciler, stop))
            tasks.create_task(_repeat(reconciler, stop, settings.poll_seconds, seal_next, "seal"))
            tasks.create_task(_repeat(reconciler, stop, 1.0, enforce_deadlines, "deadlines"))
            tasks.create_task(_repeat(reconciler, stop, 1.0, tell_unwatched, "unwatched"))
            tasks.create_task(_repeat(reconciler, stop, 1.0, tell_on_the_way, "on the way"))
            sweeping = tasks.create_task(_repeat(reconciler, stop, settings.sweep_seconds, sweep, "sweep"))
            await stop.wait()
            sweeping.cancel()  # it may take long, and may be left anywhere: the next one goes on
    finally:
        await reconciler.database.close()


async def _repeat(
    reconciler: Reconciler, stop: asyncio.Event, seconds: float, work: Callable[[Reconciler], Awaitable[bool]], name: str
) -> None:
    """Do the work again and again: at once while it says there is more, else after `seconds`; what is unavailable is waited for."""
    while not stop.is_set():
        rest = seconds
        reconciler.pulse.beat(name, seconds)
        try:
            if await work(reconciler):
                rest = 0
        except (Unavailable, StorageUnavailable) as error:
            log.warning("waiting", work=name, error=str(error))
            rest = max(seconds, 1)
        await pause(rest, stop)


async def _events(reconciler: Reconciler, stop: asyncio.Event) -> None:
    settings = reconciler.settings
    subscriber = Subscriber(settings, settings.topics.events, "reconcile")
    dead_letters = Publisher(settings, "stratum-reconcile")
    try:
        while not stop.is_set():
            reconciler.pulse.beat("events")
            messages = await subscriber.batch(100, 0.2)
            for message in messages:
                await _handle(reconciler, subscriber, dead_letters, message, stop)
                if stop.is_set():
                    return
            if messages:
                await subscriber.commit(messages)
    finally:
        await subscriber.close()


async def _handle(reconciler: Reconciler, subscriber: Subscriber, dead_letters: Publisher, message: Message, stop: asyncio.Event) -> None:
    try:
        event = launcher_event.validate_json(message.value() or b"")
    except ValidationError as error:
        await _bury(reconciler, subscriber, dead_letters, message, str(error.errors()[0]["msg"]), stop)
        return
    metrics.EVENTS.labels(event.type).inc()
    while not stop.is_set():
        reconciler.pulse.beat("events")
        try:
            await observations.apply(reconciler.database, reconciler.settings, reconciler.has_proposal, event)
        except (Unavailable, StorageUnavailable) as error:
            log.warning("waiting", work="events", error=str(error))
            await subscriber.keep_alive(1)
        except Exception as error:
            # a defect that one message brings to light must not stop all others: it is kept, and said aloud
            log.exception("event not applied", type=event.type)
            await _bury(reconciler, subscriber, dead_letters, message, f"not applied: {type(error).__name__}: {error}", stop)
            return
        else:
            return


async def _bury(
    reconciler: Reconciler, subscriber: Subscriber, dead_letters: Publisher, message: Message, reason: str, stop: asyncio.Event
) -> None:
    """Put an unreadable message where a person can look at it, with the reason."""
    log.error("unreadable event", topic=message.topic(), partition=message.partition(), offset=message.offset(), reason=reason[:1000])
    topics = reconciler.settings.topics
    place = (str(message.topic()), int(message.partition() or 0), int(message.offset() or 0))
    key, value, headers = dead_letter(message.key(), message.value(), reason, *place)
    letter = Outgoing(0, topics.dlq(topics.events), key, value, {name: text.decode() for name, text in headers.items()})
    while not stop.is_set() and not await dead_letters.publish([letter]):
        reconciler.pulse.beat("events")
        await subscriber.keep_alive(1)


async def seal_next(reconciler: Reconciler) -> bool:
    """Seal one attempt whose files are complete. Returns whether there was one."""
    async with reconciler.database.connection() as connection:
        taken = await queries.take_seal(connection, seconds=_SEAL_LEASE_SECONDS)
    if taken is None:
        return False
    current = await _read(reconciler, taken["process_id"])
    if current is None or current.attempt_state is not AttemptState.SEALING:
        return True
    structlog.contextvars.bind_contextvars(process_id=str(current.id), attempt=current.attempt)
    try:
        checked = await _checked(reconciler, current)
        if not await _begin_manifest(reconciler, current):
            return True
        datasets = await asyncio.to_thread(_put_manifests, reconciler.storage, current, checked)
    except StorageUnavailable as error:
        await _seal_waits(reconciler, current, error)
        raise
    except ProposalRejected as error:
        await _refuse(reconciler, current, error)
        return True
    async with reconciler.database.transaction() as connection:
        await lifecycle.lock(connection, current.id)
        await lifecycle.succeeded(connection, current, checked[0].proposal.metrics.model_dump(mode="json"), datasets)
    metrics.SEALS.labels("sealed").inc()
    log.info("sealed", location=datasets[0]["location"])
    return True


async def _checked(reconciler: Reconciler, current: Current) -> list[Checked]:
    """What the run left, judged. Whatever it is, it is this one attempt that ends by it, not the role."""
    try:
        return await asyncio.to_thread(proposals.checked, reconciler.storage, current, reconciler.settings)
    except (StorageUnavailable, ProposalRejected):
        raise
    except Exception as error:
        log.exception("a proposal could not be judged")
        raise ProposalRejected(f"it could not be judged ({type(error).__name__})") from error


async def _read(reconciler: Reconciler, process_id: UUID) -> Current | None:
    async with reconciler.database.transaction() as connection:
        return await lifecycle.lock(connection, process_id)


async def _begin_manifest(reconciler: Reconciler, current: Current) -> bool:
    """Write down, before anything is put, that a manifest may be there. False: the attempt has ended meanwhile."""
    async with reconciler.database.connection() as connection:
        if await queries.begin_manifest(connection, **current.key) is not None:
            return True
        if await queries.is_being_swept(connection, **current.key):
            raise ProposalRejected("a sweeper is removing the folder of the run, or has")
        return False


def _put_manifests(storage: Storage, current: Current, checked: Sequence[Checked]) -> list[dict[str, object]]:
    """Put the manifests, the main dataset's last: it is what callers wait for. The rows to register, the main one first."""
    rows = []
    for each in reversed(checked):
        manifest = proposals.manifest(current, each, current.now)
        sealed, digest = seal.put_manifest(storage, each.path, manifest)
        rows.append(seal.registration(each.path, sealed, digest))
    return rows[::-1]


async def _refuse(reconciler: Reconciler, current: Current, error: ProposalRejected) -> None:
    """Fail what does not hold, unless it is sealed: what became of the folder after the manifest was put changes nothing."""
    async with reconciler.database.transaction() as connection:
        still = await lifecycle.lock(connection, current.id)
        if still is None or not still.is_about(current.ref):
            return
        sealed = await asyncio.to_thread(_sealed, reconciler.storage, still) if still.manifest_put_at is not None else []
        if sealed:
            log.warning("the folder was changed after its manifest was put", reason=str(error))
            await lifecycle.succeeded(connection, still, None, sealed)
            return
        metrics.SEALS.labels("rejected").inc()
        ending = Ending(AttemptState.FAILED, "PROPOSAL_REJECTED", f"the result was refused: {error}", False)
        await lifecycle.ended(connection, still, ending, reconciler.settings.retry_delay_seconds)


def _sealed(storage: Storage, current: Current) -> list[dict[str, object]]:
    """The rows of what an earlier try sealed of this run, the main one first; none while the main manifest is not there."""
    found = [(path, seal.find_manifest(storage, path, current.id, current.run_id)) for path in current.outputs]
    return [seal.registration(path, *there) for path, there in found if there is not None] if found[0][1] is not None else []


async def _seal_waits(reconciler: Reconciler, current: Current, error: StorageUnavailable) -> None:
    """Say that the seal waits; after its limit, give it up, unless a manifest may be there already: then only the store can tell."""
    limit = reconciler.settings.seal_limit_seconds
    async with reconciler.database.transaction() as connection:
        still = await lifecycle.lock(connection, current.id)
        if still is None or still.attempt_state is not AttemptState.SEALING:  # another sealer had more luck
            return
        waited = still.sealing_at is not None and still.now - still.sealing_at > timedelta(seconds=limit)
        if waited and still.manifest_put_at is None:
            reason = f"the files are complete, and for {limit:g} s the object store did not let them be sealed: {error}"
            ending = Ending(AttemptState.FAILED, "STORAGE_UNAVAILABLE", reason, retryable=False)
            await lifecycle.ended(connection, still, ending, reconciler.settings.retry_delay_seconds)
        else:
            await lifecycle.note(connection, still, "waiting", "the files are complete; their seal waits for the object store")


async def sweep(reconciler: Reconciler) -> bool:
    """Remove what unsealed runs and others left."""
    return await sweeps.turn(Sweeper(reconciler.settings, reconciler.database, reconciler.storage))
