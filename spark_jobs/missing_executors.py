"""Why a run on Kubernetes has no executors, in words that a caller understands without `kubectl`. Pure functions."""

import re
from collections.abc import Iterable, Iterator

from spark_jobs.edge.pods import Pod

_LONGEST = 500
_IMAGE = frozenset({"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "ImageInspectError"})
_CONTAINER = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "StartError"})

_MESSAGE = re.compile(r"\bMessage: (?P<words>.*?)\.?(?: Received status: .*)?$", re.DOTALL)
_QUOTA = re.compile(r"exceeded quota: (?P<quota>[^,]+), requested: (?P<requested>.+), used: .+, limited: (?P<limited>.+)")
_WEBHOOK = re.compile(r'admission webhook "(?P<webhook>[^"]+)" denied the request(?: without explanation)?:? ?(?P<words>.*)', re.DOTALL)
_UNFIT = re.compile(r'"[^"]*" is (?:forbidden|invalid): (?P<words>.*)', re.DOTALL)
_NODES = re.compile(
    r"0/(?P<nodes>\d+) nodes are available: (?P<why>.*?)[.,;]?(?: no new claims to deallocate,?)?(?: preemption: .*)?$", re.DOTALL
)
_RPC = re.compile(r".*rpc error: code = \w+ desc = ", re.DOTALL)


def why_missing(pods: Iterable[Pod], refusal: str | None) -> str | None:
    """Why there is no executor; None: nothing is known to be wrong, they may just be starting.

    Args:
        pods: the executors' pods.
        refusal: what Spark lately said of a pod that it was not allowed to make, if it said so.
    """
    troubles = [trouble for trouble in map(_trouble, pods) if trouble]
    if troubles:
        return _short(troubles[-1])
    return _short(_refused(refusal)) if refusal else None


def _refused(said: str) -> str:
    found = _MESSAGE.search(said)
    words = found["words"] if found else said
    if quota := _QUOTA.search(words):
        return (
            f"executors are refused: the quota {quota['quota']!r} of the tenant's namespace has no room for another"
            f" (it takes {quota['requested']}; the limit is {quota['limited']})"
        )
    if webhook := _WEBHOOK.search(words):
        return f"executors are refused by the admission webhook {webhook['webhook']!r}: {webhook['words'] or 'it does not say why'}"
    # without the name of the pod, which is another one each time
    unfit = _UNFIT.search(words)
    return f"executors are refused by the cluster: {unfit['words'] if unfit else words}"


def _trouble(pod: Pod) -> str | None:
    for condition in pod["status"].get("conditions", ()):
        if condition["type"] == "PodScheduled" and condition["status"] != "True" and condition.get("message"):
            return _unplaced(condition["message"])
    return next((words for words in map(_of_container, _containers(pod)) if words), None)


def _unplaced(message: str) -> str:
    found = _NODES.search(message)
    if found is None:
        return f"executors wait for a node: {message}"
    return f"executors wait for a node: none of {found['nodes']} has room: {found['why']}"


def _of_container(status: Pod) -> str | None:
    state = status.get("state", {})
    waiting, ended = state.get("waiting", {}), state.get("terminated")
    if waiting.get("reason") in _IMAGE:
        words = waiting.get("message", "").partition("ErrImagePull: ")[2] or waiting.get("message", "")
        return f"executors cannot start: the image {status['image']} cannot be pulled: {_RPC.sub('', words) or 'the node does not say why'}"
    if waiting.get("reason") in _CONTAINER:
        return f"executors cannot start: {waiting.get('message') or waiting['reason']}"
    if ended and ended.get("exitCode"):
        return f"executors end as soon as they start: exit code {ended['exitCode']} ({ended.get('reason', 'no reason given')})"
    return None


def _containers(pod: Pod) -> Iterator[Pod]:
    yield from pod["status"].get("initContainerStatuses", ())
    yield from pod["status"].get("containerStatuses", ())


def _short(words: str) -> str:
    one_line = " ".join(words.split())
    return one_line if len(one_line) <= _LONGEST else f"{one_line[: _LONGEST - 1]}…"
