"""The `reconcile` role: events -> state, deadlines, sealing, sweeping. Any number may run; none needs another."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from confluent_kafka import Message

from contracts import reading
from contracts.errors import Unreadable
from contracts.event import JobEnded, LauncherEvent, launcher_event
from contracts.pulse import Pulse
from contracts.topics import dead_letter
from control_plane import metrics, observations
from control_plane.broker import Outgoing, Publisher, Subscriber
from control_plane.database import Database
from control_plane.deadlines import enforce_deadlines, tell_on_the_way, tell_unwatched
from control_plane.errors import EventRefused, StorageUnavailable, Unavailable
from control_plane.reconciler import Reconciler
from control_plane.role import connected, pause
from control_plane.sealing import seal_next
from control_plane.settings import ReconcileSettings
from control_plane.storage import Storage
from control_plane.sweeper import sweep as sweeps
from control_plane.sweeper.sweeper import Sweeper

log = structlog.get_logger()
_BATCH = 25
"""Events in hand: as many of the largest that a topic takes are a hundred megabytes."""
_MOST_LEFT = 1000
_DEFECT_REST_SECONDS = 10
"""Until work that met a defect is taken up again: what it would do next may be sound."""


async def run(settings: ReconcileSettings, stop: asyncio.Event, pulse: Pulse) -> None:
    """Reconcile until `stop`."""
    reconciler = Reconciler(settings, Database(settings), Storage(settings), pulse)
    try:
        await connected(reconciler.database, stop, pulse, "events")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_events(reconciler, stop))
            tasks.create_task(_repeat(reconciler, stop, settings.poll_seconds, seal_next, "seal"))
            tasks.create_task(_repeat(reconciler, stop, 5.0, take_up_left, "left events"))
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
    """Do the work again and again: at once while it says there is more, else after `seconds`; what is unavailable is waited for.

    A defect of one kind of work ends neither it nor the others: it is said aloud, and the work tried again.
    """
    while not stop.is_set():
        rest = seconds
        reconciler.pulse.beat(name, seconds)
        try:
            if await work(reconciler):
                rest = 0
        except (Unavailable, StorageUnavailable) as error:
            log.warning("waiting", work=name, error=str(error))
            rest = max(seconds, 1)
        except Exception:
            log.exception("work met a defect; it is tried again", work=name)
            metrics.DEFECTS.labels(name).inc()
            rest = max(seconds, _DEFECT_REST_SECONDS)
        await pause(rest, stop)


async def _events(reconciler: Reconciler, stop: asyncio.Event) -> None:
    settings = reconciler.settings
    subscriber = Subscriber(settings, settings.topics.events, "reconcile")
    dead_letters = Publisher(settings, "stratum-reconcile")
    try:
        while not stop.is_set():
            reconciler.pulse.beat("events")
            messages = await subscriber.batch(_BATCH, 0.2)
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
        event = reading.read(launcher_event, message.value() or b"", reading.MESSAGE)
    except Unreadable as error:
        await _bury(reconciler, subscriber, dead_letters, message, f"unreadable: {error}", stop)
        return
    metrics.EVENTS.labels(event.type).inc()
    while not stop.is_set():
        reconciler.pulse.beat("events")
        try:
            await observations.apply(reconciler.database, reconciler.settings, reconciler.has_proposal, event)
        except StorageUnavailable as error:
            log.warning("event left for later", type=event.type, error=str(error))
            leave(reconciler, event)
            return
        except Unavailable as error:
            log.warning("waiting", work="events", error=str(error))
            await subscriber.keep_alive(1)
        except EventRefused as error:
            await _bury(reconciler, subscriber, dead_letters, message, f"refused: {error}", stop)
            return
        except Exception as error:
            # a defect that one message brings to light must not stop all others: it is kept, and said aloud
            log.exception("event not applied", type=event.type)
            await _bury(reconciler, subscriber, dead_letters, message, f"not applied: {type(error).__name__}: {error}", stop)
            return
        else:
            return


def leave(reconciler: Reconciler, event: LauncherEvent) -> None:
    """Remember the end of a job for later: one tenant's store must not keep the events of all others waiting."""
    if isinstance(event, JobEnded) and len(reconciler.left) < _MOST_LEFT:
        reconciler.left[(event.process_id, event.step, event.attempt)] = event


async def take_up_left(reconciler: Reconciler) -> bool:
    """Try what was left once more."""
    for key, event in list(reconciler.left.items()):
        reconciler.pulse.beat("left events")
        try:
            await observations.apply(reconciler.database, reconciler.settings, reconciler.has_proposal, event)
        except StorageUnavailable:
            continue
        except Unavailable:
            raise
        except Exception:
            log.exception("event not applied", type=event.type)
        reconciler.left.pop(key, None)
    return False


async def _bury(
    reconciler: Reconciler, subscriber: Subscriber, dead_letters: Publisher, message: Message, reason: str, stop: asyncio.Event
) -> None:
    """Put a message that cannot be used where a person can look at it, with the reason."""
    metrics.EVENTS_REFUSED.inc()
    log.error("event put aside", topic=message.topic(), partition=message.partition(), offset=message.offset(), reason=reason[:1000])
    topics = reconciler.settings.topics
    place = (str(message.topic()), int(message.partition() or 0), int(message.offset() or 0))
    key, value, headers = dead_letter(message.key(), message.value(), reason, *place)
    letter = Outgoing(0, topics.dlq(topics.events), key, value, {name: text.decode() for name, text in headers.items()})
    while not stop.is_set() and not await dead_letters.publish([letter]):
        reconciler.pulse.beat("events")
        await subscriber.keep_alive(1)


async def sweep(reconciler: Reconciler) -> bool:
    """Remove what unsealed runs and others left."""
    return await sweeps.turn(Sweeper(reconciler.settings, reconciler.database, reconciler.storage, reconciler.sweep_turns))
