"""What decides whether a run's pod is admitted: priority, queue, quotas and limits of its namespace; the cluster is played."""

import json
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kubernetes.client.exceptions import ApiException

from contracts.catalog import DEFAULT_FOLDER, Catalog
from launcher.kubernetes.config import KubernetesConfig
from launcher.kubernetes.containers import placement
from stratum.preflight import probe_pod, queues, quota
from stratum.preflight.kubernetes import Kubernetes, Tenants
from stratum.preflight.places import PlacesFile, places
from stratum.preflight.pod_checks import PodOfTenant
from stratum.preflight.probe_pod import Probe
from stratum.preflight.runner import Check, run
from stratum.preflight.target import Target

SEEN = Path(__file__).parents[1] / "launcher/kubernetes/seen/no_priority_class.json"
STANDARD = Catalog.load(DEFAULT_FOLDER).profiles["standard"]
DOCUMENT: dict[str, Any] = {
    "tenants": {"acme": {"namespace": "runs"}, "own": {"namespace": "theirs", "queue": "theirs", "priority_class": "theirs"}},
    "sidecar_image": "registry.example/launcher:1",
    "queue": "all",
    "priority_class": "nowhere",
    "image_pull_secrets": ["pull"],
    "node_selector": {"pool": "spark"},
    "tolerations": [{"key": "spark", "operator": "Exists"}],
}
FILE = PlacesFile.model_validate(DOCUMENT)


def refusing(status: int, message: str) -> Callable[..., Any]:
    """A call that the API server answers with no."""

    def call(*_: Any, **__: Any) -> Any:
        error = ApiException(status=status, reason="no")
        error.body = json.dumps({"message": message})
        raise error

    return call


# --- priority


@pytest.mark.parametrize("tenant", ["acme", "own"])
def test_the_pod_is_placed_as_a_runs_driver(tenant: str) -> None:
    config = KubernetesConfig.model_validate(DOCUMENT)
    theirs = placement(config, config.place(tenant).priority_class)
    (place,) = places(FILE, tenant)
    spec = Probe(place, FILE, "registry.example/spark:1").manifest("p", 60)["spec"]
    assert theirs["priorityClassName"]
    assert {key: spec[key] for key in theirs} == theirs
    assert place.queue == config.place(tenant).queue


def test_without_a_priority_class_the_pod_names_none() -> None:
    file = PlacesFile.model_validate({"tenants": {"acme": {"namespace": "runs"}}})
    (place,) = places(file, None)
    assert "priorityClassName" not in Probe(place, file, "i").manifest("p", 60)["spec"]


def test_a_priority_class_that_is_not_there() -> None:
    """In the words in which a cluster refused a driver."""
    refusal = json.loads(SEEN.read_text())["events"][0]["message"].removeprefix("Error creating: ")
    cluster: Any = SimpleNamespace(core=SimpleNamespace(create_namespaced_pod=refusing(403, refusal)))
    (place,) = places(FILE, "acme")
    found = Probe(place, FILE, "i").run(cluster)
    assert found.report is None
    assert not found.waits
    assert "no PriorityClass with name nowhere" in found.problem
    assert "priority_class" in found.remedy


# --- pods


class Namespaces:
    """The API server's part in pods: each namespace has room for one. A pod looks around at once and ends."""

    def __init__(self) -> None:
        self.core = self
        self.there: dict[str, str] = {}
        self.images: list[str] = []

    def create_namespaced_pod(self, namespace: str, pod: dict[str, Any], **_: Any) -> None:
        if namespace in self.there:
            refusing(403, f"pods {pod['metadata']['name']!r} is forbidden: exceeded quota: q, requested: pods=1, used: pods=1")()
        self.there[namespace] = pod["metadata"]["name"]
        self.images.append(pod["spec"]["containers"][0]["image"])

    def read_namespaced_pod(self, name: str, namespace: str, **_: Any) -> Any:
        assert self.there[namespace] == name
        ended = SimpleNamespace(terminated=SimpleNamespace(message="{}", reason="Completed", exit_code=0), waiting=None)
        container = SimpleNamespace(name="preflight", image="i", state=ended)
        status = SimpleNamespace(phase="Succeeded", init_container_statuses=None, container_statuses=[container], conditions=[])
        return SimpleNamespace(status=status, spec=SimpleNamespace(node_name="n"))

    def delete_namespaced_pod(self, name: str, namespace: str, **_: Any) -> None:
        assert self.there.pop(namespace) == name


IMAGES = ["team-a/spark:1", "team-b/spark:1"]


def target_with_images() -> Target:
    """Two actions of the standard catalog, each with an image of its own, which differ before the last slash alone."""
    catalog = Catalog.load(DEFAULT_FOLDER)
    name, action = next(iter(catalog.actions.items()))
    actions = {f"{name}_{number}": action.model_copy(update={"image": image}) for number, image in enumerate(IMAGES)}
    target = Target()
    target.__dict__["catalog"] = catalog.model_copy(update={"actions": actions})
    return target


def pods_of(cluster: Any, target: Target, tenants: tuple[str, ...]) -> list[Any]:
    found = [place for tenant in tenants for place in places(FILE, tenant)]
    checks = [check for place in found for image in IMAGES for check in PodOfTenant(target, cluster, FILE, place, image).checks()]
    server = Kubernetes(target, "own")
    server.cluster = SimpleNamespace(version=SimpleNamespace(get_code=lambda **_: SimpleNamespace(major="1", minor="34", git_version="v")))
    return [Check("kubernetes", "API server", server.server), *checks]


def test_images_of_one_last_name_are_two_checks() -> None:
    cluster = Namespaces()
    results = run(pods_of(cluster, target_with_images(), ("acme",)), 30)
    assert sorted(cluster.images) == IMAGES
    assert {f"pod of acme, {image}" for image in IMAGES} <= {result.name for result in results}


def test_pods_of_one_namespace_start_one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a quota has room for one, runs wait their turn."""
    monkeypatch.setattr(probe_pod, "ROOM_SECONDS", -1.0)
    cluster = Namespaces()
    doors = {namespace: threading.Barrier(2, timeout=0.5) for namespace in ("runs", "theirs")}
    met = []
    create = cluster.create_namespaced_pod

    def at_the_door(namespace: str, pod: dict[str, Any], **_: Any) -> None:
        with suppress(threading.BrokenBarrierError):
            doors[namespace].wait()
            met.append(namespace)
        create(namespace, pod)

    monkeypatch.setattr(cluster, "create_namespaced_pod", at_the_door)
    results = run(pods_of(cluster, target_with_images(), ("acme", "own")), 30)
    ran = {result.name: result.status for result in results if result.name.endswith("spark:1")}
    assert met == []
    assert ran == {f"pod of {tenant}, {image}": "pass" for tenant in ("acme", "own") for image in IMAGES}


def test_a_pod_waits_for_room_as_a_run_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quota counts a removed pod for a moment longer."""
    monkeypatch.setattr(probe_pod, "_POLL_SECONDS", 0.0)
    cluster = Namespaces()
    cluster.there["runs"] = "a run"
    refused = 0
    create = cluster.create_namespaced_pod

    def until_it_ends(namespace: str, pod: dict[str, Any], **_: Any) -> None:
        nonlocal refused
        if refused == 2:
            del cluster.there["runs"]
        refused += 1
        create(namespace, pod)

    monkeypatch.setattr(cluster, "create_namespaced_pod", until_it_ends)
    (place,) = places(FILE, "acme")
    assert Probe(place, FILE, "i").run(cluster).report == {}
    assert refused == 3


def test_without_room_it_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_pod, "ROOM_SECONDS", -1.0)
    cluster = Namespaces()
    cluster.there["runs"] = "a run"
    results = run(pods_of(cluster, target_with_images(), ("acme",)), 30)
    assert {result.status for result in results[1:]} == {"skip"}
    assert "exceeded quota" in results[1].detail


# --- queues


def kueue(queue: Callable[..., Any] | None) -> Any:
    """A cluster with Kueue, whose LocalQueues are got so; without, for None."""
    groups = [SimpleNamespace(name="batch", preferred_version=SimpleNamespace(version="v1"))]
    if queue is not None:
        groups.append(SimpleNamespace(name="kueue.x-k8s.io", preferred_version=SimpleNamespace(version="v1beta2")))
    apis = SimpleNamespace(get_api_versions=lambda **_: SimpleNamespace(groups=groups))
    return SimpleNamespace(apis=apis, custom=SimpleNamespace(get_namespaced_custom_object=queue))


def active(status: str, message: str = "") -> Callable[..., Any]:
    return lambda *_, **__: {"status": {"conditions": [{"type": "Active", "status": status, "message": message}]}}


@pytest.mark.parametrize(
    ("cluster", "status", "words"),
    [
        (kueue(active("True")), "pass", "all in runs; theirs in theirs"),
        (kueue(lambda *_, **__: {}), "pass", "all in runs"),
        (kueue(active("False", "no ClusterQueue c")), "fail", "no ClusterQueue c"),
        (kueue(None), "fail", "the cluster has no Kueue, and runs wait for all in runs, theirs in theirs"),
        (kueue(refusing(404, "not found")), "fail", "no LocalQueue all in runs"),
        (kueue(refusing(403, "forbidden")), "warn", "not looked at: LocalQueue all in runs (403)"),
    ],
)
def test_queues(cluster: Any, status: str, words: str) -> None:
    found = queues.look(cluster, places(FILE, None))
    assert found.status == status
    assert words in found.detail
    assert bool(found.remedy) == (status != "pass")


def test_a_queue_is_asked_for_where_runs_are_given_to_it() -> None:
    asked: list[tuple[Any, ...]] = []
    queues.look(kueue(lambda *where, **_: asked.append(where) or {}), places(FILE, None))
    assert asked == [("kueue.x-k8s.io", "v1beta2", name, "localqueues", queue) for name, queue in (("runs", "all"), ("theirs", "theirs"))]


def test_where_no_queue_is_named_nothing_is_asked() -> None:
    file = PlacesFile.model_validate({"tenants": {"acme": {"namespace": "runs"}}})
    assert queues.look(SimpleNamespace(), places(file, None)).status == "pass"


# --- a quota that counts processor limits, which runs do not set


# a run of the profile `standard` is three containers: the driver, its log sidecar, an executor
@pytest.mark.parametrize(
    ("limits", "hard", "status", "words"),
    [
        ([{"type": "Container", "default": {"cpu": "2"}}], "6", "pass", "limits.cpu: 0 of 6 used"),
        ([{"type": "Container", "default": {"cpu": "2"}}], "5", "fail", "the smallest run needs 6"),
        ([{"type": "Container", "default": {"memory": "1Gi"}}], "100", "fail", "no LimitRange gives one"),
        ([{"type": "Pod", "default": {"cpu": "2"}}], "100", "fail", "no LimitRange gives one"),
        ([], "100", "fail", "no LimitRange gives one"),
        (None, "100", "warn", "not looked at"),
    ],
)
def test_processor_limits(limits: Any, hard: str, status: str, words: str) -> None:
    quotas = [{"name": "q", "hard": {"limits.cpu": hard}, "used": {}}]
    found = quota.judge(quotas, {"standard": quota.need(STANDARD, FILE)}, "runs", limits)
    assert found.status == status
    assert words in found.detail


def test_what_fails_without_the_limits_is_told_first() -> None:
    quotas = [{"name": "q", "hard": {"limits.cpu": "100", "pods": "1"}, "used": {}}]
    assert quota.judge(quotas, {"standard": quota.need(STANDARD, FILE)}, "runs", None).status == "fail"


@pytest.mark.parametrize(("may_read", "status"), [(True, "pass"), (False, "warn")])
def test_the_limits_of_the_namespace_are_read(may_read: bool, status: str) -> None:
    item = SimpleNamespace(type="Container", default={"cpu": "2"})
    ranges = SimpleNamespace(items=[SimpleNamespace(spec=SimpleNamespace(limits=[item, SimpleNamespace(type="Pod", default=None)]))])
    counted = SimpleNamespace(metadata=SimpleNamespace(name="q"), status=SimpleNamespace(hard={"limits.cpu": "1000"}, used={}))
    core = SimpleNamespace(
        list_namespaced_resource_quota=lambda *_, **__: SimpleNamespace(items=[counted]),
        list_namespaced_limit_range=(lambda *_, **__: ranges) if may_read else refusing(403, "forbidden"),
    )
    kubernetes: Any = SimpleNamespace(cluster=SimpleNamespace(core=core), own="own")
    assert Tenants(Target(), kubernetes, FILE, places(FILE, "acme")).quota().status == status
