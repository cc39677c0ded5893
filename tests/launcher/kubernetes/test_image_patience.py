"""An image is waited for from the first trouble with it on, however long its pod has been there."""

from types import SimpleNamespace
from typing import Any

import pytest

from launcher.job import Pending
from launcher.kubernetes.backend import KubernetesBackend
from launcher.kubernetes.image_patience import ImagePatience
from launcher.kubernetes.mirror import JobKey
from tests.launcher.kubernetes.stub_server import CONFIG, Server, a_job
from tests.launcher.samples import eventually

KEY = JobKey("one", "a")
JOB = {"metadata": {"namespace": "one", "name": "a", "labels": {}}}


def a_pod(job: dict[str, Any], uid: str = "p", reason: str = "ErrImagePull") -> dict[str, Any]:
    """Of a job, placed long ago; `reason`: why its driver does not start."""
    metadata = job["metadata"]
    waiting = {"name": "driver", "image": "nowhere/at-all:1", "state": {"waiting": {"reason": reason, "message": "not found"}}}
    placed = {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    return {
        "metadata": {
            "namespace": metadata["namespace"],
            "name": uid,
            "uid": uid,
            "resourceVersion": "1",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {**metadata["labels"], "batch.kubernetes.io/job-name": metadata["name"]},
        },
        "status": {"conditions": [placed], "containerStatuses": [waiting]},
    }


def test_a_pod_that_was_placed_long_ago_is_not_ended_by_its_first_failed_pull(server: Server, backend: KubernetesBackend) -> None:
    job = a_job("one", "acme")
    server.jobs["one"].append(job)
    server.pods["one"].append(a_pod(job))

    def cause() -> str | None:
        causes = [seen.state.cause for seen in backend.changes(0.1) if isinstance(seen.state, Pending)]
        return causes[-1] if causes and "cannot be pulled" in causes[-1] else None

    eventually(cause, "the trouble to be told")
    assert "PATCH one/jobs" not in server.asked

    def ended() -> bool:
        backend.changes(0.1)
        return "PATCH one/jobs" in server.asked

    eventually(ended, "its end", CONFIG.image_patience_seconds + 10)


@pytest.mark.parametrize("other", [a_pod(JOB, reason="ContainerCreating"), None])
def test_trouble_that_passes_is_forgotten(other: dict[str, Any] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("launcher.kubernetes.image_patience.time", SimpleNamespace(monotonic=lambda: now))
    patience = ImagePatience(10)
    assert patience.used_up_by(KEY, a_pod(JOB)) is None
    now = 9.0
    assert patience.used_up_by(KEY, other) is None
    now = 10.0
    assert patience.used_up_by(KEY, a_pod(JOB)) is None
    now = 19.0
    assert patience.used_up_by(KEY, a_pod(JOB, "its successor")) is None
    now = 28.0
    assert patience.used_up_by(KEY, a_pod(JOB, "its successor")) is None
    now = 29.0
    assert "nowhere/at-all:1" in str(patience.used_up_by(KEY, a_pod(JOB, "its successor")))
