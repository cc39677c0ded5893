"""The table of rights holds what `submit` and `observe` ask for, and nothing more."""

from typing import Any

from contracts.access import Role, access_of
from launcher.job import Ended
from launcher.kubernetes.backend import KubernetesBackend
from tests.launcher.kubernetes.stub_server import Server, a_job, status
from tests.launcher.samples import a_spec, eventually

VERBS = {"POST": "create", "GET": "get", "LIST": "list", "WATCH": "watch", "PATCH": "patch", "DELETE": "delete"}


def test_submit(server: Server, backend: KubernetesBackend) -> None:
    spec = a_spec(tenant="acme")
    backend.submit(spec)
    server.answers["POST one/jobs"] = status(409, "AlreadyExists", "there")
    assert backend.submit(spec).adopted
    assert backend.kill(spec.attempt, "cancelled") is None
    assert used(server, "one") == granted("submit")


def test_observe(server: Server, backend: KubernetesBackend) -> None:
    """Its events, its ends, the Job whose image does not come, the Job that has ended."""
    waiting, over = a_job("one", "acme"), a_job("one", "acme")
    over["status"] = {"conditions": [{"type": "Complete", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}
    server.jobs["one"] = [waiting, over]
    server.pods["one"] = [pod_without_image(waiting)]
    backend.survey()
    ended = eventually(lambda: [job for job in backend.changes(0.1) if isinstance(job.state, Ended)], "the end")
    eventually(lambda: backend.changes(0.1) or "PATCH one/jobs" in server.asked, "the wish to end")
    backend.remove(ended[0].attempt)
    assert used(server, "one") == granted("observe")


def pod_without_image(job: dict[str, Any]) -> dict[str, Any]:
    """The driver pod of a Job as it is while the kubelet cannot pull."""
    driver = {"name": "driver", "image": "nowhere:1", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}}
    metadata = {
        "name": "driver",
        "namespace": "one",
        "uid": "pod",
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "labels": {"batch.kubernetes.io/job-name": job["metadata"]["name"]},
    }
    placed = {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    return {"metadata": metadata, "spec": {}, "status": {"phase": "Pending", "conditions": [placed], "containerStatuses": [driver]}}


def granted(role: Role) -> dict[str, set[str]]:
    return {row.resource: set(row.verbs) for row in access_of(role, "tenant")}


def used(server: Server, namespace: str) -> dict[str, set[str]]:
    """What was asked for in a namespace: the verbs of each resource."""
    asked: dict[str, set[str]] = {}
    for question in list(server.asked):
        method, _, place = question.partition(" ")
        if place.startswith(f"{namespace}/"):
            asked.setdefault(place.removeprefix(f"{namespace}/"), set()).add(VERBS[method])
    return asked
