"""How a job ended, on a real cluster."""

import pytest

from launcher.job import Ended, JobSpec, Running
from tests.launcher.conformance import state_of, until, until_started
from tests.launcher.kubernetes.world import ClusterWorld, TenantNamespace
from tests.launcher.samples import RESOURCES, a_command, eventually

pytestmark = pytest.mark.cluster


def running(world: ClusterWorld) -> JobSpec:
    spec = world.spec(world.held)
    world.backend.submit(spec)
    until_started(world, spec)
    until(world, spec, Running)
    return spec


def test_driver_out_of_memory(world: ClusterWorld) -> None:
    small = RESOURCES.model_copy(update={"driver_memory": "32m"})
    spec = JobSpec.of(a_command({"allocate_mebibytes": 200, "seconds": 60}, image=world.spec().command.image), small)
    world.backend.submit(spec)
    ended = until(world, spec, Ended)
    world.remember("out_of_memory", spec)
    assert (ended.outcome, ended.exit_code) == ("out_of_memory", 137)
    assert "OOMKilled" in ended.message
    assert "driver_memory 32m" in ended.message


def test_pod_deleted(world: ClusterWorld) -> None:
    spec = running(world)
    world.kubectl("delete", "pod", world.pod_name(spec), "-n", world.namespace.name, "--wait=false")
    ended = until(world, spec, Ended)
    world.remember("pod_deleted", spec)
    assert ended.outcome == "evicted"
    assert "deleted, not by Stratum" in ended.message


def test_pod_evicted(world: ClusterWorld) -> None:
    """What `kubectl drain` does to each pod of a node."""
    spec = running(world)
    metadata = {"name": world.pod_name(spec), "namespace": world.namespace.name}
    path = f"/api/v1/namespaces/{world.namespace.name}/pods/{metadata['name']}/eviction"
    world.namespace.cluster.create_raw(path, {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata})
    ended = until(world, spec, Ended)
    world.remember("evicted", spec)
    assert ended.outcome == "evicted"
    assert "evicted: " in ended.message


@pytest.mark.slow
def test_disk_used_up(namespace: TenantNamespace) -> None:
    with ClusterWorld.open(namespace, ephemeral_storage={"tmp_size_limit": "1Mi"}) as world:
        spec = world.spec({"fill": "/tmp/filler", "seconds": 300}, time_limit_seconds=300)
        world.patience = 240  # the kubelet measures folders once a minute
        world.backend.submit(spec)
        ended = until(world, spec, Ended)
        world.remember("disk_used_up", spec)
        assert ended.outcome == "evicted"
        assert "exceeds the limit" in ended.message


def test_time_limit_and_failure_are_known_without_the_pod(world: ClusterWorld) -> None:
    late = world.spec({"seconds": 60}, time_limit_seconds=world.limit_seconds)
    failed = world.spec({"exit_code": 3})
    for spec in (late, failed):
        world.backend.submit(spec)
    for spec, name in ((late, "time_limit"), (failed, "failed")):
        until(world, spec, Ended)
        world.remember(name, spec)
        world.kubectl("delete", "pod", world.pod_name(spec), "-n", world.namespace.name)
        world.remember(f"{name}_pod_gone", spec)
    world.restart()
    assert until(world, late, Ended).outcome == "time_limit"
    ended = until(world, failed, Ended)
    assert (ended.outcome, ended.exit_code) == ("failed", 3)
    assert "another run has it" in ended.message


def test_a_driver_that_never_started_did_not_run_too_long(namespace: TenantNamespace) -> None:
    """Its time limit is over before its image is there."""
    with ClusterWorld.open(namespace, image_patience_seconds=600) as world:
        spec = world.spec(image="localhost:1/nowhere/at-all:1", time_limit_seconds=5)
        world.backend.submit(spec)
        ended = until(world, spec, Ended)
        world.remember("not_started_image", spec)
        assert ended.outcome == "vanished"
        assert "was not started within its time limit of 5 s" in ended.message


def test_killed_and_completed_are_known_without_the_pod(world: ClusterWorld) -> None:
    killed, completed = running(world), world.spec()
    world.backend.submit(completed)
    world.backend.kill(killed.attempt, "cancelled")
    for spec, name in ((killed, "killed"), (completed, "completed")):
        until(world, spec, Ended)
        world.remember(name, spec)
        world.kubectl("delete", "pod", "-n", world.namespace.name, "-l", f"job-name={spec.name}")
    world.restart()
    assert until(world, killed, Ended).message == "cancelled"
    assert until(world, completed, Ended).outcome == "completed"


def test_job_deleted_by_hand_is_told_at_once(world: ClusterWorld) -> None:
    spec = running(world)
    world.kubectl("delete", "job", spec.name, "-n", world.namespace.name, "--wait=false")
    told = eventually(lambda: [job for job in world.backend.changes(1) if job.name == spec.name], "the loss", world.patience)
    assert len(told) == 1
    assert isinstance(told[0].state, Ended)
    assert told[0].state.outcome == "vanished"
    assert "deleted before it ended, not by Stratum" in told[0].state.message
    assert state_of(world, spec.name) is None


def test_ended_job_that_is_removed_is_not_told_again(world: ClusterWorld) -> None:
    spec = world.spec()
    world.backend.submit(spec)
    eventually(lambda: any(isinstance(job.state, Ended) for job in world.backend.changes(1)), "the end", world.patience)
    world.backend.remove(spec.attempt)
    eventually(lambda: world.namespace.cluster.get("job", spec.name, world.namespace.name) is None, "the removal", world.patience)
    assert not world.backend.changes(2)
