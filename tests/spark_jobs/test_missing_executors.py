"""What a caller is told of executors that do not come; the texts are those of a real cluster and of Spark's own log."""

from typing import Any

import pytest

from spark_jobs.missing_executors import why_missing

POST = "Exception when notifying snapshot subscriber. Failure executing: POST at: https://kubernetes.default.svc/api/v1/namespaces/t/pods."


def spark_says(message: str) -> str:
    status = f"Status(apiVersion=v1, code=403, kind=Status, message={message}, metadata=ListMeta(), status=Failure)"
    return f"21:56:46 {POST} Message: {message}. Received status: {status}."


def pod(*, conditions: list[dict[str, Any]] | None = None, state: dict[str, Any] | None = None) -> dict[str, Any]:
    containers = [{"name": "executor", "image": "spark:1", "state": state}] if state else []
    return {"status": {"conditions": conditions or [], "containerStatuses": containers}}


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (
            'pods "a-exec-1" is forbidden: exceeded quota: room,'
            " requested: limits.memory=896Mi, used: limits.memory=2Gi, limited: limits.memory=2Gi",
            "executors are refused: the quota 'room' of the tenant's namespace has no room for another"
            " (it takes limits.memory=896Mi; the limit is limits.memory=2Gi)",
        ),
        (
            'admission webhook "no.example" denied the request: not on a Sunday',
            "executors are refused by the admission webhook 'no.example': not on a Sunday",
        ),
        (
            'pods "a-exec-7" is forbidden: violates PodSecurity "restricted:latest": seccompProfile',
            'executors are refused by the cluster: violates PodSecurity "restricted:latest": seccompProfile',
        ),
        (
            'Pod "a-exec-2" is invalid: spec.containers[0].volumeMounts[3].mountPath: Invalid value: "/work": must be unique',
            'executors are refused by the cluster: spec.containers[0].volumeMounts[3].mountPath: Invalid value: "/work": must be unique',
        ),
    ],
)
def test_refused(message: str, words: str) -> None:
    assert why_missing([], spark_says(message)) == words


def test_each_refused_executor_gives_the_same_words() -> None:
    """The name of the pod and what others use change all the time; it is one cause, hence one event."""
    said = [
        f'pods "a-exec-{number}" is forbidden: exceeded quota: room, requested: pods=1, used: pods={number}, limited: pods=9'
        for number in (1, 2)
    ]
    assert len({why_missing([], spark_says(each)) for each in said}) == 1


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (
            pod(
                conditions=[
                    {
                        "type": "PodScheduled",
                        "status": "False",
                        "message": "0/1 nodes are available: 1 Insufficient memory. no new claims to deallocate, preemption: 0/1 nodes are"
                        " available: 1 No preemption victims found for incoming pod.",
                    }
                ]
            ),
            "executors wait for a node: none of 1 has room: 1 Insufficient memory",
        ),
        (
            pod(
                state={
                    "waiting": {
                        "reason": "ImagePullBackOff",
                        "message": 'Back-off pulling image "spark:1": ErrImagePull: rpc error: code = NotFound desc = not found',
                    }
                }
            ),
            "executors cannot start: the image spark:1 cannot be pulled: not found",
        ),
        (
            pod(state={"waiting": {"reason": "CreateContainerConfigError", "message": 'secret "ca" not found'}}),
            'executors cannot start: secret "ca" not found',
        ),
        (
            pod(state={"terminated": {"exitCode": 137, "reason": "OOMKilled"}}),
            "executors end as soon as they start: exit code 137 (OOMKilled)",
        ),
    ],
)
def test_made_but_not_there(seen: dict[str, Any], words: str) -> None:
    assert why_missing([seen], None) == words


@pytest.mark.parametrize(
    "seen",
    [
        pod(conditions=[{"type": "PodScheduled", "status": "True"}], state={"waiting": {"reason": "ContainerCreating"}}),
        pod(state={"running": {"startedAt": "2026-01-01T00:00:00Z"}}),
        pod(),
    ],
)
def test_starting_is_no_trouble(seen: dict[str, Any]) -> None:
    assert why_missing([seen], None) is None


def test_an_executor_that_is_there_but_cannot_start_says_more_than_an_old_refusal() -> None:
    seen = pod(state={"terminated": {"exitCode": 1, "reason": "Error"}})
    assert why_missing([seen], spark_says('admission webhook "w" denied the request: no')) == (
        "executors end as soon as they start: exit code 1 (Error)"
    )
