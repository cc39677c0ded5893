"""The `webhooks` role: deliveries that are due -> the callers' URLs. Any number may run; each leases what it sends."""

import asyncio
import random
import ssl
from dataclasses import dataclass
from typing import Any

import asyncpg
import stamina
import structlog

from contracts.model import canonical_json
from contracts.pulse import Pulse
from contracts.trust import trusted_pem
from control_plane import views
from control_plane.database import Connection, Database, queries
from control_plane.errors import Unavailable
from control_plane.role import connected, pause
from control_plane.settings import WebhookSettings
from control_plane.webhooks import metrics, signing
from control_plane.webhooks.connecting import Resolve, SystemResolver
from control_plane.webhooks.retries import Again, Delivered, GivenUp, Schedule
from control_plane.webhooks.sending import Answer, Sender, Timeouts
from control_plane.webhooks.targets import TargetRefused

log = structlog.get_logger()
_MARK_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Deliverer:
    """The parts of the role."""

    settings: WebhookSettings
    database: Database
    sender: Sender

    @property
    def lease_seconds(self) -> float:
        """Longer than a delivery can take, its mark included: a lease that ends belongs to nobody alive."""
        return self.settings.webhook_total_seconds + 2 * _MARK_SECONDS

    @property
    def schedule(self) -> Schedule:
        """When failed deliveries are tried again."""
        settings = self.settings
        return Schedule(settings.webhook_first_delay_seconds, settings.webhook_longest_delay_seconds, settings.webhook_give_up_seconds)


async def run(settings: WebhookSettings, stop: asyncio.Event, pulse: Pulse, resolve: Resolve | None = None) -> None:
    """Deliver until `stop`; what is on its way then is finished. `resolve` stands in for the machine's resolver."""
    system = SystemResolver()
    trust = ssl.create_default_context(cadata=trusted_pem(settings.ca_bundle))
    timeouts = Timeouts(settings.webhook_connect_seconds, settings.webhook_read_seconds, settings.webhook_total_seconds)
    database = Database(settings)
    try:
        async with Sender(settings.target_rules, timeouts, trust, resolve or system) as sender:
            await connected(database, stop, pulse, "webhooks")
            await _deliver_all(Deliverer(settings, database, sender), stop, pulse)
    finally:
        system.close()
        await database.close()


async def _deliver_all(deliverer: Deliverer, stop: asyncio.Event, pulse: Pulse) -> None:
    settings = deliverer.settings
    under_way: set[asyncio.Task[None]] = set()
    freed = asyncio.Event()

    def done(task: asyncio.Task[None]) -> None:
        under_way.discard(task)
        freed.set()

    async with asyncio.TaskGroup() as tasks:
        while not stop.is_set():
            pulse.beat("webhooks", settings.webhook_poll_seconds)
            rest = settings.webhook_poll_seconds
            freed.clear()
            try:
                taken = await _take(deliverer, settings.webhook_concurrency - len(under_way))
            except Unavailable as error:
                log.warning("waiting", work="webhooks", error=str(error))
                taken, rest = [], max(rest, 1.0)
            for row in taken:
                task = tasks.create_task(_deliver(deliverer, row))
                under_way.add(task)
                task.add_done_callback(done)
            await pause(rest, stop, freed)
        pulse.forget("webhooks")


async def _take(deliverer: Deliverer, room: int) -> list[asyncpg.Record]:
    if room <= 0:
        return []
    settings = deliverer.settings
    async with deliverer.database.connection() as connection:
        found = queries.take_webhooks(
            connection,
            room=room,
            per_host=settings.webhook_per_host,
            per_tenant=settings.webhook_per_tenant,
            lease_seconds=deliverer.lease_seconds,
        )
        return [row async for row in found]


async def _deliver(deliverer: Deliverer, row: asyncpg.Record) -> None:
    """Send one delivery and write down what became of it. If that fails, its lease ends and it is sent again, under the same id."""
    known = {"delivery": str(row["id"]), "process_id": str(row["process_id"]), "attempt": row["attempts"]}
    try:
        try:
            answer, following = await _sent(deliverer, row)
        except Unavailable:
            raise
        except Exception as error:
            # a defect that one delivery brings to light must not stop all others: it is tried again, and said aloud
            log.exception("delivery failed", **known)
            answer = Answer(None, f"a defect of Stratum kept it from being sent ({type(error).__name__})")
            following = _following(deliverer, row, answer)
        await _mark(deliverer, row, answer, following)
    except Unavailable as error:
        log.warning("the delivery will be sent again", error=str(error), **known)
        return
    outcome = type(following).__name__.lower()
    metrics.ATTEMPTS.labels(outcome).inc()
    log.info("delivery", outcome=outcome, status=answer.status, reason=answer.failure, **known)


async def _sent(deliverer: Deliverer, row: asyncpg.Record) -> tuple[Answer, Delivered | Again | GivenUp]:
    async with deliverer.database.connection() as connection:
        process = views.process(await queries.get_process(connection, tenant=row["tenant"], id=row["process_id"], counted=None))
        keys = await signing.keys_of(connection, row["tenant"])
        now = await queries.database_time(connection)
    document = process.model_dump(mode="json")
    body = canonical_json({"type": row["type"], "timestamp": document["ended_at"], "data": document})
    headers = {"Content-Type": "application/json", "User-Agent": "Stratum-Webhooks", **signing.headers(keys, str(row["id"]), now, body)}
    try:
        answer = await deliverer.sender.post(row["url"], headers, body)
    except TargetRefused as error:
        return Answer(None, str(error)), GivenUp(f"not sent: {error}")
    return answer, _following(deliverer, row, answer)


def _following(deliverer: Deliverer, row: asyncpg.Record, answer: Answer) -> Delivered | Again | GivenUp:
    return deliverer.schedule.following(answer, row["attempts"], row["tried_seconds"], random.random())


async def _mark(deliverer: Deliverer, row: asyncpg.Record, answer: Answer, following: Delivered | Again | GivenUp) -> None:
    async for attempt in stamina.retry_context(on=Unavailable, attempts=None, timeout=_MARK_SECONDS, wait_max=2.0):
        with attempt:
            async with deliverer.database.connection() as connection:
                await _mark_once(connection, {"id": row["id"], "attempt": row["attempts"], "status": answer.status}, answer, following)


async def _mark_once(connection: Connection, mark: dict[str, Any], answer: Answer, following: Delivered | Again | GivenUp) -> None:
    match following:
        case Delivered():
            await queries.end_webhook(connection, **mark, state="delivered", error=None)
        case Again(delay):
            await queries.delay_webhook(connection, **mark, error=answer.failure, delay_seconds=delay)
        case GivenUp(reason):
            await queries.end_webhook(connection, **mark, state="given_up", error=reason)
