"""A submission leaves one Job with its command, whatever becomes of the launcher, the network or the namespace."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from kubernetes.client import Configuration
from kubernetes.config import load_kube_config

from launcher.backend import Submitted
from launcher.errors import BackendUnavailable, CommandUnfit, JobConflict
from launcher.job import Ended, JobSpec
from launcher.kubernetes.backend import KubernetesBackend
from launcher.kubernetes.config import KubernetesConfig
from launcher.kubernetes.job_manifest import command_secret_name
from tests.cluster.cluster import Cluster
from tests.launcher.conformance import until
from tests.launcher.kubernetes.proxy import Proxy
from tests.launcher.kubernetes.world import ClusterWorld, TenantNamespace
from tests.launcher.samples import eventually

pytestmark = pytest.mark.cluster


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """A proxy before the API server of the cluster."""
    configuration = Configuration()
    load_kube_config(client_configuration=configuration)
    server = urlsplit(configuration.host)
    assert server.hostname
    with Proxy.running(server.hostname, server.port or 443) as proxy:
        yield proxy


@pytest.fixture
def cut_off(namespace: TenantNamespace, proxy: Proxy) -> Iterator[ClusterWorld]:
    """A world whose backend sees the API server through the proxy."""
    with ClusterWorld.open(namespace, proxy.address) as world:
        yield world


def secrets(world: ClusterWorld) -> list[str]:
    mine = f"stratum.dev/cluster={world.platform.cluster}"
    return [each["metadata"]["name"] for each in world.namespace.cluster.items("secrets", world.namespace.name, mine)]


def test_secret_belongs_to_the_job_and_goes_with_it(world: ClusterWorld) -> None:
    spec = world.spec()
    world.backend.submit(spec)
    assert secrets(world) == [command_secret_name(world.job(spec))]
    until(world, spec, Ended)
    world.backend.remove(spec.attempt)
    eventually(lambda: not secrets(world), "the Secret to go", world.patience)


def test_missing_secret_is_made_anew_on_adoption(world: ClusterWorld) -> None:
    spec = world.spec(world.held)
    world.backend.submit(spec)
    [name] = secrets(world)
    world.kubectl("delete", "secret", name, "-n", world.namespace.name)
    assert world.backend.submit(spec) == Submitted(adopted=True)
    assert secrets(world) == [name]
    assert world.backend.submit(spec) == Submitted(adopted=True)
    assert secrets(world) == [name]


def test_ended_job_needs_no_secret(world: ClusterWorld) -> None:
    spec = world.spec()
    world.backend.submit(spec)
    until(world, spec, Ended)
    world.kubectl("delete", "secret", *secrets(world), "-n", world.namespace.name)
    assert world.backend.submit(spec) == Submitted(adopted=True)
    assert secrets(world) == []


def test_answer_that_was_lost(cut_off: ClusterWorld, proxy: Proxy) -> None:
    """The server took the Job, and nobody heard: the next try finds it."""
    world = cut_off
    assert world.backend.jobs() == []  # so that there is a connection
    spec = world.spec()
    proxy.mode = "swallow answers"
    with pytest.raises(BackendUnavailable):
        world.backend.submit(spec)
    proxy.mode = "pass"
    assert len(world.namespace.cluster.items("jobs", world.namespace.name, f"stratum.dev/cluster={world.platform.cluster}")) == 1
    assert world.backend.submit(spec) == Submitted(adopted=True)
    assert until(world, spec, Ended).outcome == "completed"
    assert world.starts(spec) == 1


def test_server_that_is_away(cut_off: ClusterWorld, proxy: Proxy) -> None:
    world = cut_off
    proxy.mode = "refuse"
    for ask in (lambda: world.backend.submit(world.spec()), world.backend.jobs, lambda: world.backend.kill(world.spec().attempt, "x")):
        with pytest.raises(BackendUnavailable, match="cannot be reached"):
            ask()


def test_changes_are_told_over_cuts_and_silence(cut_off: ClusterWorld, proxy: Proxy) -> None:
    world = cut_off
    before, during = world.spec(), world.spec()

    def until_told(spec: JobSpec) -> None:
        def told() -> bool:
            try:
                return any(job.name == spec.name and isinstance(job.state, Ended) for job in world.backend.changes(1))
            except BackendUnavailable:  # blind for a moment, and it says so
                return False

        eventually(told, f"the end of {spec.name}", world.patience)

    assert world.backend.changes(0) == []
    proxy.cut()
    with world.namespace.api() as api:
        past_the_proxy = KubernetesBackend(api, world.config, world.platform)
        past_the_proxy.submit(before)
        until_told(before)
        proxy.mode = "silent"  # the watches stand, and hear nothing
        past_the_proxy.submit(during)
        eventually(lambda: any(job.name == during.name and isinstance(job.state, Ended) for job in past_the_proxy.jobs()), "the end", 90)
        proxy.mode = "pass"
        until_told(during)


def test_foreign_job_of_the_name(world: ClusterWorld) -> None:
    spec = world.spec()
    world.kubectl("create", "job", spec.name, "-n", world.namespace.name, "--image=x")
    with pytest.raises(JobConflict, match="digest None"):
        world.backend.submit(spec)
    world.kubectl("delete", "job", spec.name, "-n", world.namespace.name)


def test_quota_of_jobs(cluster: Cluster) -> None:
    with TenantNamespace.made(cluster) as namespace, ClusterWorld.open(namespace) as world:
        cluster.kubectl("create", "quota", "jobs", "-n", namespace.name, "--hard=count/jobs.batch=0")

        def refused() -> CommandUnfit | None:
            try:
                world.backend.submit(world.spec())
            except CommandUnfit as unfit:
                return unfit
            return None

        unfit = eventually(refused, "the quota to be in force", world.patience)
        assert unfit.error_class == "QUOTA_EXCEEDED"
        assert "count/jobs.batch" in str(unfit)


def test_job_that_makes_no_sense_to_the_server(world: ClusterWorld) -> None:
    with pytest.raises(CommandUnfit, match="image: Required value") as unfit:
        world.backend.submit(world.spec(image=""))
    assert unfit.value.error_class == "JOB_REFUSED"


def test_namespace_without_rights_for_the_launcher(world: ClusterWorld) -> None:
    elsewhere = KubernetesConfig.model_validate({**world.config.model_dump(), "tenants": {"acme": {"namespace": "default"}}})
    backend = KubernetesBackend(world.api, elsewhere, world.platform)
    with pytest.raises(CommandUnfit, match="default") as unfit:
        backend.submit(world.spec())
    assert unfit.value.error_class == "NAMESPACE_UNAVAILABLE"
    for ask in (backend.jobs, lambda: backend.changes(0)):
        with pytest.raises(BackendUnavailable, match="default"):
            ask()
    backend.close()
