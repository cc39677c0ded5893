"""Puts the parts together: the one place that knows them all."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import httpx
import structlog
from botocore.config import Config
from prometheus_client import start_http_server

from contracts.errors import CatalogError
from contracts.live_catalog import LiveCatalog
from contracts.topics import Topics
from launcher.backend import Backend
from launcher.cancel import CancelHandler
from launcher.consuming import Handler, MessageLoop, Subscription
from launcher.keys import JwksKeys
from launcher.log_shipping import LogShipper
from launcher.observe import DatabaseClock, Observer
from launcher.process.backend import ProcessBackend
from launcher.process.spark_submit import SparkSubmit
from launcher.publishing import Publisher
from launcher.roles import Role
from launcher.settings import Settings
from launcher.submit import SubmitHandler

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Connections:
    """What the roles share. Nothing of it waits for its other side to be there."""

    publisher: Publisher
    http: httpx.Client
    s3: "S3Client"


@contextmanager
def connections(settings: Settings) -> Iterator[Connections]:
    """The clients of one process, closed at the end."""
    with ExitStack() as stack:
        if settings.metrics_port is not None:
            server, _ = start_http_server(settings.metrics_port)
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
        http = stack.enter_context(httpx.Client(verify=str(settings.ca_bundle) if settings.ca_bundle else True))
        s3 = _s3(settings)
        stack.callback(s3.close)
        yield Connections(Publisher(settings.kafka_bootstrap, Topics(settings.topic_prefix).events), http, s3)


def submit_roles(settings: Settings, backend: Backend, shared: Connections, member: str | None = None) -> Mapping[str, Role]:
    """What may run many times: commands and cancels become effects. `member`: see `Subscription`."""
    topics = Topics(settings.topic_prefix)
    catalog = LiveCatalog(settings.catalog_dir, _report_catalog)

    def loop(topic: str, group: str, handler: Handler) -> Role:
        subscription = Subscription(settings.kafka_bootstrap, topics, topic, f"{settings.topic_prefix}.launcher.{group}", member)
        return MessageLoop(subscription, handler, shared.publisher).run

    # each thread has its own keys: they are not made to be shared
    submit = SubmitHandler(backend, JwksKeys(settings.jwks_url, shared.http), catalog, settings.cluster)
    cancel = CancelHandler(backend, JwksKeys(settings.jwks_url, shared.http), settings.cluster)
    return {"submit": loop(topics.commands, "submit", submit), "cancel": loop(topics.cancels, "cancel", cancel)}


def observe_role(settings: Settings, backend: Backend, shared: Connections, logs_complete: Callable[[str], bool]) -> Role:
    """What runs once: tell what is seen, tidy up."""
    observer = Observer(
        backend,
        shared.publisher.publish_events,
        DatabaseClock(settings.callback_base_url, shared.http),
        logs_complete,
        cluster=settings.cluster,
        relist_seconds=settings.relist_seconds,
        retention=timedelta(seconds=settings.retention_seconds),
    )
    return observer.run


@contextmanager
def local_roles(settings: Settings) -> Iterator[Mapping[str, Role]]:
    """Everything in one process, jobs as children of this machine."""
    launch = SparkSubmit(settings, _cache_folder() / "class-archives")
    archive = launch.archive  # asks Java and Spark at once, so that a wrong setting stops the start
    with (
        connections(settings) as shared,
        ProcessBackend.open(settings.jobs_dir, settings.max_local_jobs, launch, grace_seconds=settings.kill_grace_seconds) as backend,
    ):
        shipper = LogShipper(backend, shared.s3)
        yield {
            **submit_roles(settings, backend, shared, member=settings.cluster),
            "observe": observe_role(settings, backend, shared, shipper.is_complete),
            "ship-logs": shipper.run,
            "archive-classes": partial(archive.build_when_idle, backend),
        }


def _s3(settings: Settings) -> "S3Client":
    return boto3.client(
        "s3",
        endpoint_url=settings.s3_endpoint,
        region_name=settings.s3_region,
        aws_access_key_id=settings.s3_access_key,
        aws_secret_access_key=settings.s3_secret_key.get_secret_value(),
        verify=str(settings.ca_bundle) if settings.ca_bundle else None,
        config=Config(
            connect_timeout=3,
            read_timeout=15,
            retries={"total_max_attempts": 2},
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


def _report_catalog(error: CatalogError) -> None:
    log.error("the catalog is wrong; the last good one stays in force", error=str(error))


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stratum"
