"""A watch that the server forgets, or ends at once: nothing is missed, and the server is not asked without a pause."""

import time

from launcher.job import Ended, Job, Pending
from launcher.kubernetes.backend import KubernetesBackend
from tests.launcher.kubernetes.stub_server import EXPIRED, Server, a_job
from tests.launcher.samples import eventually

FORGOTTEN = {"type": "ERROR", "object": EXPIRED[1]}


def test_a_job_that_went_while_nobody_watched_is_told_as_lost(server: Server, backend: KubernetesBackend) -> None:
    kept, gone = a_job("one", "acme"), a_job("one", "acme")
    both = (200, {"items": [kept, gone], "metadata": {"resourceVersion": "1"}})
    server.jobs["one"].append(kept)
    server.pages["one"].append(both)
    server.watches["one"].append([FORGOTTEN])
    told: list[Job] = []

    def ends() -> list[Job]:
        told.extend(backend.changes(0.1))
        return [job for job in told if isinstance(job.state, Ended)]

    (lost,) = eventually(ends, "the loss")
    assert isinstance(lost.state, Ended)
    assert (lost.name, lost.state.outcome) == (gone["metadata"]["name"], "vanished")
    assert kept["metadata"]["name"] in {job.name for job in told if isinstance(job.state, Pending)}
    assert ends() == [lost], "once"


def test_a_server_that_ends_or_forgets_every_watch_at_once_is_not_asked_without_a_pause(server: Server, backend: KubernetesBackend) -> None:
    server.watches["one"].extend([] for _ in range(1000))
    server.watches["two"].extend([FORGOTTEN] for _ in range(1000))
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        backend.changes(0.1)
    for namespace in ("one", "two"):
        assert 2 <= server.asked.count(f"WATCH {namespace}/jobs") <= 5
