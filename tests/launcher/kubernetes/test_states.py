"""What is read from what a real cluster (1.34) said of jobs in many states.

The tests of the cluster renew those documents when STRATUM_REMEMBER is set.
"""

import json
from typing import Any

import pytest

from launcher.job import Ended, Pending, Running
from launcher.kubernetes.reasons import NOT_MADE, NOT_PLACED, refused_pod
from launcher.kubernetes.state import attempt_of, deleted, state_of
from tests.launcher.kubernetes.world import SEEN

NAMESPACE_REFUSES = "the cluster refuses the driver's pod: "


def seen(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((SEEN / f"{name}.json").read_text())
    return document


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("unschedulable", "no node has room for the driver, of 1: 1 Insufficient memory"),
        ("quota", "the quota 'memory' of the tenant's namespace has no room: requests.memory (asked for 1184Mi, 0 of 1Gi in use)"),
        ("admission", NAMESPACE_REFUSES + "ValidatingAdmissionPolicy"),
        ("no_account", NAMESPACE_REFUSES + "error looking up service account"),
        ("no_priority_class", NAMESPACE_REFUSES + "no PriorityClass with name nowhere was found"),
        ("no_s3_secret", "the container 'logs' cannot be made: secret \"nowhere\" not found"),
        ("no_ca", 'waiting for the driver\'s volumes: MountVolume.SetUp failed for volume "ca" : configmap "nowhere" not found'),
        ("no_command", 'waiting for the driver\'s volumes: MountVolume.SetUp failed for volume "command"'),
        ("queued", "waiting for room in the queue 'spark'"),
    ],
)
def test_waits(name: str, words: str) -> None:
    state = state_of(**seen(name))
    assert isinstance(state, Pending)
    assert state.cause.startswith(words)


@pytest.mark.parametrize(
    ("name", "outcome", "code", "says"),
    [
        ("completed", "completed", 0, "by itself"),
        ("failed", "failed", 3, "another run has it (exit code 3)"),
        ("failed_pod_gone", "failed", 3, "another run has it (exit code 3)"),
        ("out_of_memory", "out_of_memory", 137, "OOMKilled"),
        ("not_started", "vanished", None, "not started within its time limit of 3 s"),
        ("time_limit_pod_gone", "time_limit", 137, "3 s"),
        ("killed", "killed", None, "cancelled"),
        ("killed_in_queue", "killed", None, "cancelled"),
        ("pod_deleted", "evicted", 143, "deleted, not by Stratum"),
        ("evicted", "evicted", None, "the cluster needed its place, or lost its node"),
        ("disk_used_up", "evicted", 143, "exceeds the limit"),
        ("image_unavailable", "image_unavailable", None, "localhost:1/nowhere/at-all:1 cannot be pulled"),
    ],
)
def test_ends(name: str, outcome: str, code: int | None, says: str) -> None:
    state = state_of(**seen(name))
    assert isinstance(state, Ended)
    assert (state.outcome, state.exit_code) == (outcome, code)
    assert says in state.message


def test_nothing_is_said_yet() -> None:
    quota, unschedulable = seen("quota"), seen("unschedulable")
    assert state_of(quota["job"], None, []) == Pending(NOT_MADE)
    unschedulable["pod"]["status"] = {"phase": "Pending"}
    assert state_of(**unschedulable) == Pending(NOT_PLACED)


def test_end_that_is_decided_is_not_yet_one() -> None:
    """The Job fails first, and has failed only once its pod is gone."""
    document = seen("failed")
    document["job"]["status"]["conditions"] = [{"type": "FailureTarget", "status": "True"}]
    assert state_of(**document) == Running()
    assert state_of(document["job"], None, []) == Pending("being ended before its driver was started")


def test_reason_of_a_disruption_stands_at_the_pod() -> None:
    document = seen("failed")
    document["pod"]["status"]["conditions"] = [{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}]
    state = state_of(**document)
    assert isinstance(state, Ended)
    assert (state.outcome, "higher priority" in state.message) == ("evicted", True)


def test_deleted_before_its_end() -> None:
    assert deleted(seen("queued")["job"], None).outcome == "vanished"
    assert deleted(seen("killed_in_queue")["job"], None).outcome == "killed"
    assert deleted(seen("completed")["job"], None).outcome == "completed"


def test_attempt_is_read_from_labels() -> None:
    attempt = attempt_of(seen("completed")["job"])
    assert (attempt.tenant, attempt.step, attempt.attempt) == ("acme", 0, 1)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (
            'admission webhook "mutate.example" denied the request: no spark on Fridays',
            "the admission webhook 'mutate.example' refuses the driver's pod: no spark on Fridays",
        ),
        (
            "failed quota: room: must specify limits.cpu for: driver",
            "the quota 'room' of the tenant's namespace takes no pod that does not say its limits.cpu for: driver",
        ),
        ("something new", "the cluster makes no pod for the driver: something new"),
    ],
)
def test_refusals_of_pods(message: str, words: str) -> None:
    assert refused_pod(f"Error creating: {message}") == words
