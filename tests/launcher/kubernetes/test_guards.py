"""Guards for which an API server is needed: with each the situation does no harm, and without it the judgement condemns it.

See `tests/chaos/guards.py` for how a guard is taken out.
"""

import base64
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from threading import Event
from typing import cast

import httpx
import pytest

from contracts.command import Command
from contracts.event import JobEnded, LauncherEvent
from contracts.pulse import Pulse
from launcher.assembly import Connections
from launcher.errors import JobConflict
from launcher.job import JobSpec
from launcher.kubernetes import names, paths
from launcher.kubernetes.api import KubernetesApi
from launcher.kubernetes.assembly import _observe
from launcher.kubernetes.job_manifest import job_manifest
from launcher.kubernetes.lease import Leadership, Lease
from launcher.publishing import Publisher
from launcher.settings import KubernetesObserveSettings
from tests.chaos.guards import GUARDS
from tests.launcher.kubernetes.world import ClusterWorld
from tests.launcher.samples import RESOURCES, eventually
from tests.launcher.stub_api import Api

pytestmark = pytest.mark.cluster


def guard(name: str, *, is_in: bool) -> AbstractContextManager[None]:
    return nullcontext() if is_in else GUARDS[name].out()


class Told:
    """In Kafka's place: keeps which jobs' ends were told."""

    def __init__(self) -> None:
        self.ends: list[str] = []

    def publish_events(self, events: Sequence[LauncherEvent]) -> None:
        self.ends += [event.job_name for event in events if isinstance(event, JobEnded)]

    def violations(self) -> list[str]:
        return [f"the end of {name} was told {times} times" for name, times in Counter(self.ends).items() if times > 1]


class Observer:
    """A whole observer, with its side of the Lease."""

    def __init__(self, world: ClusterWorld, name: str, told: Told, api_url: str) -> None:
        self._world = world
        self._told = told
        self._settings = KubernetesObserveSettings(
            kafka_bootstrap="nowhere:1",
            cluster=world.platform.cluster,
            callback_base_url=api_url,
            relist_seconds=1,
            launcher_backend="kubernetes",
            kubernetes_config_file=Path("unread"),
            s3_endpoint=world.platform.s3_endpoint,
            namespace=world.namespace.name,
            lease_name=world.platform.cluster,
            pod_name=name,
        )
        self.turns = 0
        """How often it asked for the Lease."""

    @contextmanager
    def running(self) -> "Iterator[Observer]":
        """It works, or waits to work, inside the block."""
        settings, stop = self._settings, Event()
        with KubernetesApi.open() as api, httpx.Client() as http, ThreadPoolExecutor(1) as thread:
            lease = Lease(api, settings.namespace, settings.lease_name, settings.pod_name)
            shared = Connections(cast(Publisher, self._told), http, Pulse())
            term = partial(_observe, settings, self._world.config, self._world.platform, shared, lease)
            work = thread.submit(Leadership(lease, term, self._count).run, stop)
            try:
                yield self
            finally:
                stop.set()
                work.result()

    def _count(self) -> None:
        self.turns += 1


@pytest.mark.parametrize("guarded", [True, False])
def test_two_observers(guarded: bool, world: ClusterWorld, api: Api) -> None:
    world.backend.submit(world.spec())
    told = Told()
    with guard("one observer leads", is_in=guarded), ExitStack() as stack:
        observers = [stack.enter_context(Observer(world, name, told, api.base_url).running()) for name in ("first", "second")]
        eventually(lambda: told.ends, "the end of the job", world.patience)
        if not guarded:
            eventually(told.violations, "an end that is told twice", world.patience)
            return
        before = [observer.turns for observer in observers]
        eventually(
            lambda: all(observer.turns >= turns + 3 for observer, turns in zip(observers, before, strict=True)),
            "both to ask for the Lease again",
            world.patience,
        )
        assert told.violations() == []


def handed_over(world: ClusterWorld, spec: JobSpec) -> list[str]:
    """Jobs of the spec's name that were given its command, and its token, though they were made from another."""
    job, mine = world.job(spec), f"{names.CLUSTER}={world.platform.cluster}"
    if job["metadata"]["annotations"][names.DIGEST] == spec.digest:
        return []
    secrets = world.namespace.cluster.items("secrets", world.namespace.name, mine)
    given = [Command.model_validate_json(base64.b64decode(secret["data"][names.COMMAND_KEY])) for secret in secrets]
    return [f"{spec.name} was made from another command and has the token of this one" for each in given if each == spec.command]


@pytest.mark.parametrize("guarded", [True, False])
def test_a_job_of_the_name_that_was_made_from_another_command(guarded: bool, world: ClusterWorld) -> None:
    """The name is the attempt's alone: a database that was restored may number anew, and whoever may make Jobs may choose it."""
    spec = world.spec()
    other = JobSpec.of(spec.command.model_copy(update={"parameters": world.held, "flow_token": "another-token"}), RESOURCES)
    place = world.config.place(spec.command.tenant)
    world.api.create(paths.jobs(place.namespace), job_manifest(other, place, world.config, world.platform, f"{other.name}-other"))
    with guard("a Job is adopted if it was made from the same command", is_in=guarded), suppress(JobConflict):
        world.backend.submit(spec)
    assert bool(handed_over(world, spec)) is not guarded
