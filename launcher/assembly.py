"""What the services are put together from, whatever runs their jobs. See `process.assembly` and `kubernetes.assembly`."""

import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import certifi
import httpx
import structlog

from contracts.errors import CatalogError
from contracts.event import LauncherEvent
from contracts.live_catalog import LiveCatalog
from contracts.pulse import Pulse, serve
from contracts.topics import Topics
from launcher.backend import Backend
from launcher.cancel import CancelHandler
from launcher.consuming import Handler, MessageLoop, Subscription
from launcher.keys import JwksKeys
from launcher.observe import DatabaseClock, Observer
from launcher.publishing import Publisher
from launcher.roles import Role
from launcher.settings import ObserveSettings, ServiceSettings, SubmitSettings
from launcher.submit import SubmitHandler

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Connections:
    """What the roles share. Nothing of it waits for its other side to be there."""

    publisher: Publisher
    http: httpx.Client
    pulse: Pulse


@contextmanager
def connections(settings: ServiceSettings) -> Iterator[Connections]:
    """The clients of one process, closed at the end."""
    with ExitStack() as stack:
        pulse = Pulse(settings.stuck_seconds)
        if settings.metrics_port is not None:
            server = serve(settings.metrics_port, pulse)
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
        trusted = ssl.create_default_context(cafile=certifi.where())
        if settings.ca_bundle is not None:
            trusted.load_verify_locations(settings.ca_bundle)
        http = stack.enter_context(httpx.Client(verify=trusted))
        yield Connections(Publisher(settings.kafka_client, Topics(settings.topic_prefix).events), http, pulse)


def submit_roles(settings: SubmitSettings, backend: Backend, shared: Connections, member: str | None = None) -> Mapping[str, Role]:
    """What may run many times: commands and cancels become effects. `member`: see `Subscription`."""
    topics = Topics(settings.topic_prefix)
    catalog = LiveCatalog(settings.catalog_dir, _report_catalog)

    def loop(topic: str, group: str, handler: Handler) -> Role:
        subscription = Subscription(settings.kafka_client, topics, topic, f"{settings.topic_prefix}.launcher.{group}", member)
        return MessageLoop(subscription, handler, shared.publisher, partial(shared.pulse.beat, group)).run

    # each thread has its own keys: they are not made to be shared
    submit = SubmitHandler(backend, JwksKeys(settings.jwks_url, shared.http), catalog, settings.cluster, images=settings)
    cancel = CancelHandler(backend, JwksKeys(settings.jwks_url, shared.http), settings.cluster)
    return {"submit": loop(topics.commands, "submit", submit), "cancel": loop(topics.cancels, "cancel", cancel)}


def observer(
    settings: ObserveSettings,
    backend: Backend,
    shared: Connections,
    publish: Callable[[Sequence[LauncherEvent]], None],
    logs_complete: Callable[[str], bool],
) -> Observer:
    """What runs once: tell what is seen, tidy up."""
    return Observer(
        backend,
        publish,
        DatabaseClock(settings.callback_base_url, shared.http),
        logs_complete,
        cluster=settings.cluster,
        relist_seconds=settings.relist_seconds,
        retention=timedelta(seconds=settings.retention_seconds),
        beat=partial(shared.pulse.beat, "observe"),
    )


def _report_catalog(error: CatalogError) -> None:
    log.error("the catalog is wrong; the last good one stays in force", error=str(error))
