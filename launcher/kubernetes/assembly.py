"""Puts the roles of a cluster together: `submit`, which may run many times, and `observe`, of which one works at a time."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from threading import Event

from contracts.event import LauncherEvent
from launcher.assembly import Connections, connections, observer, submit_roles
from launcher.kubernetes.api import KubernetesApi
from launcher.kubernetes.backend import KubernetesBackend
from launcher.kubernetes.config import KubernetesConfig, load_config
from launcher.kubernetes.lease import Leadership, Lease
from launcher.kubernetes.platform import Platform
from launcher.publishing import DELIVERY_SECONDS
from launcher.roles import Role
from launcher.settings import KubernetesObserveSettings, KubernetesSettings, KubernetesSubmitSettings, SettingsError


@contextmanager
def cluster_submit_roles(settings: KubernetesSubmitSettings) -> Iterator[Mapping[str, Role]]:
    """The roles, by name; what they use is closed at the end."""
    config, platform = load_config(settings.kubernetes_config_file), _platform(settings)
    with connections(settings) as shared, KubernetesBackend.open(config, platform) as backend:
        yield submit_roles(settings, backend, shared)


@contextmanager
def cluster_observe_roles(settings: KubernetesObserveSettings) -> Iterator[Mapping[str, Role]]:
    """The role, by name; what it uses is closed at the end."""
    config, platform = load_config(settings.kubernetes_config_file), _platform(settings)
    _require_time_to_tell(settings, config)
    with connections(settings) as shared, KubernetesApi.open() as api:
        lease = Lease(api, settings.namespace, settings.lease_name, settings.pod_name)
        term = partial(_observe, settings, config, platform, shared, lease)
        yield {"observe": Leadership(lease, term, partial(shared.pulse.beat, "lease")).run}


def _require_time_to_tell(settings: KubernetesObserveSettings, config: KubernetesConfig) -> None:
    """The cluster's own removal is only the backstop: a Job that it took first could take an end along that nobody has told."""
    if config.job_ttl_seconds <= settings.retention_seconds:
        raise SettingsError(
            f"{settings.kubernetes_config_file}: job_ttl_seconds ({config.job_ttl_seconds}) must be more than STRATUM_RETENTION_SECONDS"
            f" ({settings.retention_seconds:g}), else the cluster removes ended Jobs before the observer does"
        )


def _observe(
    settings: KubernetesObserveSettings, config: KubernetesConfig, platform: Platform, shared: Connections, lease: Lease, stop: Event
) -> None:
    """One term. It begins knowing nothing: what the one before has told is told again.

    Nothing is handed to Kafka that could be delivered after the Lease may be another's.
    """

    def publish(events: Sequence[LauncherEvent]) -> None:
        lease.require(DELIVERY_SECONDS)
        shared.publisher.publish_events(events)

    def logs_complete(_: str) -> bool:
        return True  # a pod ends after its sidecar, which ships to the last line

    try:
        with KubernetesBackend.open(config, platform) as backend:
            observer(settings, backend, shared, publish, logs_complete).run(stop)
    finally:
        shared.pulse.forget("observe")


def _platform(settings: KubernetesSettings) -> Platform:
    return Platform(
        cluster=settings.cluster,
        s3_endpoint=settings.s3_endpoint,
        s3_region=settings.s3_region,
        kill_grace_seconds=settings.kill_grace_seconds,
    )
