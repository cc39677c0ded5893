"""200 submissions at once to pods that stay pending: what the backend costs beside the bare client, in the same run.

    STRATUM_TEST_CLUSTER=disposable KUBECONFIG=... python -m benchmarks.submissions [--jobs 200]

The bare client makes the same Jobs by `BatchV1Api.create_namespaced_job`, from one thread, and no Secrets; the backend makes each Job
and its Secret, as the launcher does: one after another. Then all is submitted again, as after a crash. Every Job must be there once.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kubernetes.client import ApiClient, BatchV1Api, Configuration
from kubernetes.config import load_kube_config

from launcher.job import JobSpec
from launcher.kubernetes.job_manifest import job_manifest
from tests.cluster.cluster import Cluster
from tests.launcher.kubernetes.world import ClusterWorld, TenantNamespace
from tests.launcher.samples import RESOURCES, a_command

UNPLACEABLE = RESOURCES.model_copy(update={"driver_memory": "900g"})


@dataclass(frozen=True, slots=True)
class Cost:
    """Of `jobs` submissions: elapsed seconds, and processor seconds of this process."""

    what: str
    jobs: int
    seconds: float
    processor_seconds: float

    @classmethod
    def of(cls, what: str, submit: Callable[[JobSpec], object], specs: Sequence[JobSpec]) -> "Cost":
        """Submit one after another."""
        began, began_processor = time.perf_counter(), time.process_time()
        for spec in specs:
            submit(spec)
        return cls(what, len(specs), time.perf_counter() - began, time.process_time() - began_processor)

    def __str__(self) -> str:
        each = self.processor_seconds / self.jobs * 1000
        return f"{self.what:34} {self.jobs / self.seconds:8.0f} Jobs/s {self.processor_seconds:8.2f} s CPU {each:8.2f} ms CPU each"


def specs(number: int) -> list[JobSpec]:
    """Jobs that no node has the memory for."""
    return [JobSpec.of(a_command(), UNPLACEABLE) for _ in range(number)]


def bare(world: ClusterWorld) -> Callable[[JobSpec], object]:
    """The client as it comes: its typed request, its typed answer."""
    configuration = Configuration()
    load_kube_config(client_configuration=configuration)
    batch = BatchV1Api(ApiClient(configuration))
    place = world.config.place("acme")

    def submit(spec: JobSpec) -> object:
        return batch.create_namespaced_job(place.namespace, job_manifest(spec, place, world.config, world.platform, spec.name))

    return submit


def once_each(world: ClusterWorld, asked: Sequence[JobSpec]) -> None:
    """Fail unless every Job is there, once, and none besides."""
    names = sorted(job.name for job in world.backend.jobs())
    assert names == sorted(spec.name for spec in asked), f"{len(names)} Jobs for {len(asked)} submissions"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=200)
    number = parser.parse_args().jobs
    with TenantNamespace.made(Cluster(), most_pods=10 * number) as namespace:
        with ClusterWorld.open(namespace) as world:
            print(Cost.of("bare client: Job", bare(world), specs(number)))
        with ClusterWorld.open(namespace) as world:
            asked = specs(number)
            print(Cost.of("backend: Job and Secret", world.backend.submit, asked))
            once_each(world, asked)
            print(Cost.of("backend: all of them again", world.backend.submit, asked))
            once_each(world, asked)


if __name__ == "__main__":
    main()
