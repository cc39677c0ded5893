"""Why a job waits, as a real cluster says it and as a caller reads it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from contracts.sizing import Resources
from launcher.job import Ended, JobSpec, Pending
from launcher.kubernetes import paths
from launcher.kubernetes.job_manifest import job_manifest
from launcher.kubernetes.reasons import NOT_MADE, NOT_PLACED, STARTING
from tests.cluster.cluster import Cluster
from tests.launcher.conformance import state_of, until
from tests.launcher.kubernetes.world import ClusterWorld, TenantNamespace
from tests.launcher.samples import RESOURCES, a_command, eventually

pytestmark = pytest.mark.cluster
_NOTHING_YET = {NOT_MADE, NOT_PLACED, STARTING}


def cause(world: ClusterWorld, spec: JobSpec) -> str:
    """The cause of a job's waiting, once the cluster says more than nothing."""

    def look() -> str | None:
        job = state_of(world, spec.name)
        return job.state.cause if job and isinstance(job.state, Pending) and job.state.cause not in _NOTHING_YET else None

    return eventually(look, "a cause", world.patience)


def submitted(world: ClusterWorld, **changes: Any) -> JobSpec:
    spec = world.spec(**changes)
    world.backend.submit(spec)
    return spec


def large(world: ClusterWorld) -> JobSpec:
    """A job that no node has the memory for."""
    resources: Resources = RESOURCES.model_copy(update={"driver_memory": "900g"})
    return JobSpec.of(a_command(image=world.spec().command.image), resources)


def test_no_node_has_room(world: ClusterWorld) -> None:
    spec = large(world)
    world.backend.submit(spec)
    words = cause(world, spec)
    world.remember("unschedulable", spec)
    assert words.startswith("no node has room for the driver, of 1: ")
    assert "Insufficient memory" in words
    assert "preemption" not in words


def test_quota(namespace: TenantNamespace, world: ClusterWorld) -> None:
    namespace.cluster.kubectl("create", "quota", "memory", "-n", namespace.name, "--hard=requests.memory=1Gi")
    try:
        spec = submitted(world)
        words = cause(world, spec)
        world.remember("quota", spec)
        assert words == "the quota 'memory' of the tenant's namespace has no room: requests.memory (asked for 1184Mi, 0 of 1Gi in use)"
    finally:
        namespace.cluster.kubectl("delete", "quota", "memory", "-n", namespace.name)


@contextmanager
def policy(namespace: TenantNamespace) -> Iterator[None]:
    """A rule of the cluster that no pod of the namespace obeys."""
    name = f"{namespace.name}-labels"
    head = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": name}}
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    validation = {"expression": "has(object.metadata.labels) && 'cost-centre' in object.metadata.labels", "message": "name a cost-centre"}
    spec = {"failurePolicy": "Fail", "matchConstraints": {"resourceRules": [rule]}, "validations": [validation]}
    only_here = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace.name}}}
    binding = {"policyName": name, "validationActions": ["Deny"], "matchResources": only_here}
    namespace.cluster.apply({**head, "kind": "ValidatingAdmissionPolicy", "spec": spec})
    namespace.cluster.apply({**head, "kind": "ValidatingAdmissionPolicyBinding", "spec": binding})
    try:
        yield
    finally:
        for kind in ("validatingadmissionpolicybinding", "validatingadmissionpolicy"):
            namespace.cluster.kubectl("delete", kind, name)


def test_admission(cluster: Cluster) -> None:
    with TenantNamespace.made(cluster) as namespace, policy(namespace), ClusterWorld.open(namespace) as world:
        eventually(lambda: refused(world, namespace), "the policy to be in force", world.patience)
        spec = submitted(world)
        words = cause(world, spec)
        world.remember("admission", spec)
        assert words.startswith("the cluster refuses the driver's pod: ValidatingAdmissionPolicy")
        assert "name a cost-centre" in words


def refused(world: ClusterWorld, namespace: TenantNamespace) -> bool:
    """Whether the policy is known to the API server, which takes a moment: a driver's pod is asked for, and not made."""
    place = world.config.place("acme")
    template = job_manifest(world.spec(), place, world.config, world.platform, "none")["spec"]["template"]
    metadata = {**template["metadata"], "name": "asked-for"}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
    return "name a cost-centre" in namespace.cluster.refusal(pod, namespace.name)


def test_image_that_is_nowhere_ends_the_attempt(world: ClusterWorld) -> None:
    spec = submitted(world, image="localhost:1/nowhere/at-all:1")
    words = cause(world, spec)
    world.remember("image", spec)
    assert "the image localhost:1/nowhere/at-all:1 cannot be pulled: " in words
    assert "rpc error" not in words
    ended = until(world, spec, Ended)
    world.remember("image_unavailable", spec)
    assert ended.outcome == "image_unavailable"
    assert "localhost:1/nowhere/at-all:1" in ended.message
    assert "tried for 3 s" in ended.message
    assert world.starts(spec) == 0


@pytest.mark.parametrize(
    ("name", "changes", "says"),
    [
        ("no_s3_secret", {"s3_secret": {"name": "nowhere"}}, "the container 'logs' cannot be made: secret \"nowhere\" not found"),
        ("no_account", {"service_account": "nobody"}, "error looking up service account"),
        ("no_priority_class", {"priority_class": "nowhere"}, "no PriorityClass with name nowhere was found"),
        ("no_ca", {"ca_config_map": {"name": "nowhere", "key": "ca.crt"}}, 'configmap "nowhere" not found'),
    ],
)
def test_what_the_namespace_lacks(namespace: TenantNamespace, name: str, changes: dict[str, Any], says: str) -> None:
    with ClusterWorld.open(namespace, **changes) as world:
        spec = submitted(world)
        words = cause(world, spec)
        world.remember(name, spec)
        assert says in words


def test_command_that_was_not_stored_yet(world: ClusterWorld) -> None:
    """As after a launcher that was killed between the Job and its Secret: a second try completes it."""
    spec = world.spec()
    place = world.config.place("acme")
    world.api.create(paths.jobs(place.namespace), job_manifest(spec, place, world.config, world.platform, "not-there-yet"))
    words = cause(world, spec)
    world.remember("no_command", spec)
    assert "not-there-yet" in words
    assert world.backend.submit(spec).adopted
    assert until(world, spec, Ended).outcome == "completed"


def test_queue(namespace: TenantNamespace) -> None:
    with ClusterWorld.open(namespace, queue="spark") as world:
        spec = submitted(world)
        assert cause(world, spec) == "waiting for room in the queue 'spark'"
        world.remember("queued", spec)
        assert world.backend.kill(spec.attempt, "cancelled") is None
        ended = until(world, spec, Ended)
        world.remember("killed_in_queue", spec)
        assert (ended.outcome, ended.message) == ("killed", "cancelled")
        assert world.backend.kill(spec.attempt, "again") == ended
        assert "kueue.x-k8s.io/queue-name" not in world.job(spec)["metadata"]["labels"]
        assert world.starts(spec) == 0
