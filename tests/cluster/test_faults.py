"""Faults on the cluster. Each is seen to have happened, and the whole history of the process is asserted afterwards."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from contracts.topics import MAX_MESSAGE_BYTES
from tests.cluster.release import JOBS, NAME, NAMESPACE, Release
from tests.cluster.runs import AGAIN, VERSION, WHOLE, assert_failed, assert_succeeded, await_running, history, remarks, start
from tests.e2e.platform import wait_for

pytestmark = pytest.mark.cluster

DRAINED = "app.kubernetes.io/component!=observe"


def test_submit_killed_between_create_and_commit(release: Release, flights: str) -> None:
    """Where no event is taken it makes the Job and can tell nobody, so its offset stays; then it dies."""
    with no_events_taken(release):
        process_id = start(release, flights, "submit_killed", seconds=1)
        wait_for(lambda: len(release.job_objects(process_id)) == 1, 60, lambda: "the Job")
        (before,) = release.job_objects(process_id)
        wait_for(lambda: "paused" in _log(release, "submit"), 60, lambda: "the event to be refused")
        release.kill("submit")
    process = assert_succeeded(release, process_id, WHOLE)
    assert [job["metadata"]["uid"] for job in release.job_objects(process_id)] == [before["metadata"]["uid"]]
    assert len(process["attempts"]) == 1


def test_submit_without_rights(release: Release, flights: str) -> None:
    """The command is not kept at the launcher, where others would wait behind it: it comes again until it is taken."""
    with no_rights(release, f"{NAME}-submit"):
        process_id = start(release, flights, "no_rights", seconds=1)
        wait_for(lambda: "lacks a right" in release.get(process_id)["reason"], 60, lambda: "the refusal")
    release.wait(process_id, "succeeded", seconds=280)
    seen = history(release, process_id)
    tries = seen.count("retrying")
    assert tries >= 1
    assert seen == ["accepted", *["queued", "retrying"] * tries, *WHOLE[1:]]


def test_observe_killed(release: Release, flights: str) -> None:
    process_id = start(release, flights, "observe_killed", seconds=10)
    await_running(release, process_id)
    holder = _lease_holder(release)
    release.kill("observe")
    assert_succeeded(release, process_id, WHOLE)
    wait_for(lambda: _lease_holder(release) not in ("", holder), 90, lambda: "another observer to hold the Lease")


@pytest.fixture(scope="module")
def taken_away(release: Release, flights: str) -> dict[str, str]:
    """Runs that lose their driver, all at once; by how they lost it."""
    ids = {how: start(release, flights, how, seconds=15) for how in ("pod_deleted", "pod_evicted", "job_deleted")}
    pods = {how: await_running(release, process_id)["metadata"]["name"] for how, process_id in ids.items()}
    release.cluster.kubectl("delete", "pod", "-n", JOBS, pods["pod_deleted"], "--grace-period=0", "--force")
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pods["pod_evicted"], "namespace": JOBS}}
    release.cluster.create_raw(f"/api/v1/namespaces/{JOBS}/pods/{pods['pod_evicted']}/eviction", eviction)
    (job,) = release.job_objects(ids["job_deleted"])
    release.cluster.kubectl("delete", "job", "-n", JOBS, job["metadata"]["name"], "--wait=false")
    return ids


def test_driver_pod_deleted(release: Release, taken_away: dict[str, str]) -> None:
    process = assert_succeeded(release, taken_away["pod_deleted"], AGAIN)
    first, second = process["attempts"]
    # the driver may still report that it was told to end, or its pod's end may be seen first
    assert first["state"] in ("failed", "lost"), first
    assert second["state"] == "succeeded"


def test_driver_pod_evicted(release: Release, taken_away: dict[str, str]) -> None:
    assert_succeeded(release, taken_away["pod_evicted"], AGAIN)
    assert "evict" in remarks(release, taken_away["pod_evicted"])


def test_job_deleted_by_hand(release: Release, taken_away: dict[str, str]) -> None:
    assert_succeeded(release, taken_away["job_deleted"], AGAIN)


@pytest.fixture(scope="module")
def failing(release: Release, flights: str) -> dict[str, str]:
    """Runs that fail by themselves, all at once; by what they lack."""
    lacking = release.post(entity_id=flights, data_version=VERSION, action="no_image", parameters={}, output_dataset="no_image")
    return {
        "image": lacking["id"],
        "driver memory": start(release, flights, "driver_oom", driver_mebibytes=4000),
        "executor memory": start(release, flights, "executor_oom", executor_mebibytes=4000),
    }


def test_driver_out_of_memory(release: Release, failing: dict[str, str]) -> None:
    process_id = failing["driver memory"]
    process = assert_failed(release, process_id, ["accepted", "queued", "running", "retrying", "queued", "running", "failed"])
    assert "memory" in process["reason"]
    assert "driver_memory" in process["reason"]
    # the sidecar outlives the driver, and so the log is there
    assert "taking 4000 MiB" in release.cli("logs", process_id).stdout


def test_executor_out_of_memory(release: Release, failing: dict[str, str]) -> None:
    process_id = failing["executor memory"]
    process = release.wait(process_id, "failed", seconds=280)
    # the kernel ends the whole executor, which will not fit the next time either, or a Python process of it, which may have had bad luck
    alone = ["accepted", "queued", "running", "failed"]
    assert history(release, process_id) in (alone, [*alone[:3], "retrying", *alone[1:]])
    assert "memory" in process["reason"]
    assert "executor_memory" in process["reason"]
    assert process["artifacts"] == []
    release.assert_nothing_left(process_id)


def test_image_that_does_not_exist(release: Release, failing: dict[str, str]) -> None:
    failed = assert_failed(release, failing["image"], ["accepted", "queued", "failed"])
    assert "localhost/stratum/nothing:1" in failed["reason"]
    waits = [str(event["data"]) for event in release.events(failing["image"]) if event["type"] == "pending"]
    assert any("localhost/stratum/nothing:1" in wait for wait in waits), waits


@pytest.mark.slow
def test_executors_refused_by_quota(release: Release, flights: str) -> None:
    release.cluster.apply(quota("no-executors", {"pods": len(_live_pods(release)) + 1}))
    try:
        process_id = start(release, flights, "refused", seconds=1)
        release.wait(process_id, "running")
        wait_for(lambda: "quota" in release.get(process_id)["reason"], 90, lambda: "the reason to name the quota")
        process = assert_failed(release, process_id, ["accepted", "queued", "running", "retrying", "queued", "running", "failed"])
    finally:
        release.cluster.kubectl("delete", "resourcequota", "-n", JOBS, "no-executors")
    assert "no-executors" in process["reason"]


@pytest.mark.alone
def test_api_server_restarted(release: Release, flights: str) -> None:
    """The run goes on, nothing is taken for lost while nobody can look, and work accepted meanwhile is done afterwards."""
    process_id = start(release, flights, "api_server", seconds=15)
    release.await_pods(process_id, "executor")  # a driver that has none yet needs the API server for it, and is tried again without
    with release.by_service_address(), release.cluster.without_api_server():
        queued = start(release, flights, "while_away", seconds=1)
        release.wait(queued, "queued")
    release.await_answer()
    assert_succeeded(release, process_id, WHOLE)
    # an API server that has just begun may know of no rights yet: its refusal is waited out, and uses up no attempt of the action's
    assert_succeeded(release, queued, WHOLE, [*WHOLE[:2], "retrying", *WHOLE[1:]])


@pytest.mark.slow  # a stub of the API server does so to a backend
def test_watches_cut(release: Release, flights: str) -> None:
    """Whoever observes finds the run again, and its end, by a list: nothing is taken for lost."""
    process_id = start(release, flights, "watches_cut", seconds=15)
    await_running(release, process_id)
    for _ in range(3):
        wait_for(lambda: bool(_cut_watches(release)), 60, lambda: "connections of an observer to the API server")
    assert release.get(process_id)["state"] == "running"
    process = assert_succeeded(release, process_id, WHOLE)
    assert len(process["attempts"]) == 1


@pytest.mark.slow
@pytest.mark.alone
def test_node_drained(release: Release, flights: str) -> None:
    """Everything at once, the services below included, as before a node's maintenance; the node takes it all again afterwards.

    But for the observers: their disruption budget keeps one of the two, and here is no other node for the first.
    """
    process_id = start(release, flights, "drained", seconds=15)
    await_running(release, process_id)
    before = _uids(release)
    with drained(release):
        assert _uids(release, "--field-selector=status.phase=Running") == set()
    for kind in ("statefulset", "deployment"):
        release.cluster.kubectl("rollout", "status", "-n", NAMESPACE, kind, "--timeout=240s")
    release.await_answer()
    assert_succeeded(release, process_id, AGAIN)
    assert not before & _uids(release, "--field-selector=status.phase=Running")


# -- the faults ----------------------------------------------------------------------------------------------------------


def quota(name: str, hard: dict[str, object]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": name, "namespace": JOBS},
        "spec": {"hard": {resource: str(amount) for resource, amount in hard.items()}},
    }


@contextmanager
def drained(release: Release) -> Iterator[None]:
    """No pod but the observers' on the cluster's only node inside the block."""
    (node,) = (item["metadata"]["name"] for item in release.cluster.items("nodes", ""))
    try:
        how = ("--pod-selector", DRAINED, "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=240s")
        release.cluster.kubectl("drain", node, *how)
        yield
    finally:
        release.cluster.kubectl("uncordon", node)


def _uids(release: Release, *more: str) -> set[str]:
    """Of the pods of the platform and of its runs, but for the observers'."""
    return {pod["metadata"]["uid"] for place in (NAMESPACE, JOBS) for pod in release.cluster.items("pods", place, DRAINED, *more)}


@contextmanager
def no_rights(release: Release, account: str) -> Iterator[None]:
    """A service account that may do nothing in the tenant's namespace."""
    binding = release.cluster.get("rolebinding", account, JOBS)
    assert binding is not None
    release.cluster.kubectl("delete", "rolebinding", "-n", JOBS, account)
    try:
        yield
    finally:
        kept = ("name", "namespace", "labels", "annotations")
        metadata = {name: value for name, value in binding["metadata"].items() if name in kept}
        release.cluster.apply({**binding, "metadata": metadata})


@contextmanager
def no_events_taken(release: Release) -> Iterator[None]:
    """The broker takes no event inside the block, since all are too long; it serves all else."""
    _longest_event(release, 1)
    try:
        yield
    finally:
        _longest_event(release, MAX_MESSAGE_BYTES)


def _longest_event(release: Release, length: int) -> None:
    program = f"""
import os
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource
entry = ConfigEntry("max.message.bytes", "{length}", incremental_operation=AlterConfigOpType.SET)
topic = ConfigResource("topic", os.environ.get("STRATUM_TOPIC_PREFIX", "stratum") + ".events.v1", incremental_configs=[entry])
admin = AdminClient({{"bootstrap.servers": os.environ["STRATUM_KAFKA_BOOTSTRAP"]}})
admin.incremental_alter_configs([topic])[topic].result(30)
"""
    release.cluster.kubectl("exec", "-n", NAMESPACE, f"deployment/{NAME}-relay", "-c", "relay", "--", "python", "-c", program)


def _cut_watches(release: Release) -> list[str]:
    """Reset all connections that observers have to the API server; says which. Only on a node itself."""
    if not shutil.which("ss") or not release.cluster.is_here():
        pytest.skip("connections of this cluster's API server cannot be cut from here")
    cut: list[str] = []
    for pod in release.pods("observe"):
        if address := pod["status"].get("podIP"):
            there = ["ss", "--kill", "--no-header", "--tcp", "state", "established", "dst", address, "sport", "=", ":6443"]
            cut += subprocess.run(there, capture_output=True, text=True, check=True).stdout.splitlines()
    return cut


def _live_pods(release: Release) -> list[dict[str, Any]]:
    return [pod for pod in release.cluster.items("pods", JOBS) if pod["status"]["phase"] in ("Pending", "Running")]


def _lease_holder(release: Release) -> str:
    lease = release.cluster.get("lease", f"{NAME}-observe", NAMESPACE)
    return str(lease["spec"].get("holderIdentity", "")) if lease else ""


def _log(release: Release, component: str) -> str:
    return release.cluster.kubectl("logs", "-n", NAMESPACE, f"deployment/{NAME}-{component}", "--tail=50")
