"""Why a Job waits, in words that a caller understands without `kubectl`. Pure functions of what the cluster says."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from launcher.kubernetes import names
from launcher.kubernetes.containers import Document

NOT_MADE: Final = "waiting for the cluster to make the driver's pod"
NOT_PLACED: Final = "waiting for a node"
STARTING: Final = "the driver's container is being started"
_IMAGE_REASONS: Final = frozenset({"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "ImageInspectError"})
_CONTAINER_REASONS: Final = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "StartError"})
_LONGEST: Final = 500

_QUOTA = re.compile(r"exceeded quota: (?P<quota>[^,]+), requested: (?P<requested>.+), used: (?P<used>.+), limited: (?P<limited>.+)")
_UNQUOTED = re.compile(r"failed quota: (?P<quota>[^:]+): must specify (?P<missing>.+)")
_WEBHOOK = re.compile(r'admission webhook "(?P<webhook>[^"]+)" denied the request(?: without explanation)?:? ?(?P<words>.*)', re.DOTALL)
_FORBIDDEN = re.compile(r"(?:pods? )?\"[^\"]*\" is forbidden: (?P<words>.*)", re.DOTALL)
_NODES = re.compile(
    r"0/(?P<nodes>\d+) nodes are available: (?P<why>.*?)[.,;]?(?: no new claims to deallocate,?)?(?: preemption: .*)?$", re.DOTALL
)
_RPC = re.compile(r".*rpc error: code = \w+ desc = ", re.DOTALL)


def waiting_for(job: Document, pod: Document | None, events: Sequence[Document]) -> str:
    """What a Job waits for that has not started.

    Args:
        job: the Job.
        pod: its pod, if it has one.
        events: warnings about Jobs and pods of its namespace, in any order.
    """
    if job["spec"].get("suspend"):
        queue = job["metadata"].get("labels", {}).get(names.QUEUE)
        return f"waiting for room in the queue {queue!r}" if queue else "the Job is suspended"
    if pod is None:
        said = _last_said(events, "Job", job["metadata"]["name"], {"FailedCreate"})
        return refused_pod(said) if said else NOT_MADE
    return _waiting_pod(pod, events)


@dataclass(frozen=True, slots=True)
class ImageTrouble:
    """An image that cannot be had."""

    image: str
    words: str

    def __str__(self) -> str:
        return f"the image {self.image} cannot be pulled: {self.words}"


def image_trouble(pod: Document) -> ImageTrouble | None:
    """The image that keeps the pod from starting, if one does."""
    for status in _containers(pod):
        waiting = status.get("state", {}).get("waiting", {})
        if waiting.get("reason") in _IMAGE_REASONS:
            return ImageTrouble(status["image"], _pull_words(waiting))
    return None


def refused_pod(message: str) -> str:
    """Why the cluster makes no pod, from the words of the API server."""
    words = message.removeprefix("Error creating: ").strip()
    for pattern, say in _REFUSALS:
        found = pattern.search(words)
        if found:
            return _short(say(found))
    return _short(f"the cluster makes no pod for the driver: {words}")


def _quota_words(found: re.Match[str]) -> str:
    requested, used, limited = (_amounts(found[part]) for part in ("requested", "used", "limited"))
    parts = (f"{name} (asked for {amount}, {used.get(name, '?')} of {limited.get(name, '?')} in use)" for name, amount in requested.items())
    return f"the quota {found['quota']!r} of the tenant's namespace has no room: {'; '.join(parts)}"


def _amounts(text: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in text.split(",") if "=" in part)


def _unquoted_words(found: re.Match[str]) -> str:
    return f"the quota {found['quota']!r} of the tenant's namespace takes no pod that does not say its {found['missing']}"


def _webhook_words(found: re.Match[str]) -> str:
    return f"the admission webhook {found['webhook']!r} refuses the driver's pod: {found['words'] or 'it does not say why'}"


_REFUSALS: Sequence[tuple[re.Pattern[str], Callable[[re.Match[str]], str]]] = (
    (_QUOTA, _quota_words),
    (_UNQUOTED, _unquoted_words),
    (_WEBHOOK, _webhook_words),
    (_FORBIDDEN, lambda found: f"the cluster refuses the driver's pod: {found['words']}"),
)


def _waiting_pod(pod: Document, events: Sequence[Document]) -> str:
    trouble = image_trouble(pod)
    if trouble is not None:
        return _short(str(trouble))
    placed = condition(pod, "PodScheduled")
    if placed is None or placed["status"] != "True":
        return _placement(placed)
    for status in _containers(pod):
        words = _container_words(status)
        if words:
            return _short(words)
    return _mounting(pod, events)


def _placement(placed: Document | None) -> str:
    message = (placed or {}).get("message", "")
    if not message:
        return NOT_PLACED
    found = _NODES.search(message)
    if found is None:
        return _short(f"{NOT_PLACED}: {message}")
    return _short(f"no node has room for the driver, of {found['nodes']}: {found['why']}")


def _container_words(status: Document) -> str | None:
    waiting = status.get("state", {}).get("waiting", {})
    reason, message = waiting.get("reason"), waiting.get("message", "")
    if reason in _CONTAINER_REASONS:
        return f"the container {status['name']!r} cannot be made: {message or reason}"
    if reason == "CrashLoopBackOff":
        ended = status.get("lastState", {}).get("terminated", {})
        said = f": {ended['message'].strip()}" if ended.get("message") else ""
        return f"the container {status['name']!r} ends as soon as it is started (exit code {ended.get('exitCode')}){said}"
    return None


def _mounting(pod: Document, events: Sequence[Document]) -> str:
    volumes = _last_said(events, "Pod", pod["metadata"]["name"], {"FailedMount", "FailedAttachVolume"})
    if volumes:
        return _short(f"waiting for the driver's volumes: {volumes}")
    sandbox = _last_said(events, "Pod", pod["metadata"]["name"], {"FailedCreatePodSandBox"})
    if sandbox:
        return _short(f"the node cannot make the driver's pod: {_RPC.sub('', sandbox)}")
    return STARTING


def _pull_words(waiting: Document) -> str:
    """The registry's words, the same whether the kubelet has just tried or waits to try again."""
    message = waiting.get("message", "").strip()
    words = message.partition("ErrImagePull: ")[2] or message
    return _RPC.sub("", words) or "the node does not say why"


def _containers(pod: Document) -> Iterable[Document]:
    status = pod.get("status", {})
    return [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]


def condition(document: Document, kind: str) -> Document | None:
    """The condition of that kind in the status of an object."""
    return next((each for each in document.get("status", {}).get("conditions", ()) if each["type"] == kind), None)


def _last_said(events: Iterable[Document], kind: str, name: str, reasons: set[str]) -> str | None:
    about = [
        event
        for event in events
        if event["involvedObject"].get("kind") == kind and event["involvedObject"].get("name") == name and event.get("reason") in reasons
    ]
    if not about:
        return None
    message: str = max(about, key=_when).get("message", "")
    return message or None


def _when(event: Document) -> str:
    return event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp") or ""


def _short(words: str) -> str:
    one_line = " ".join(words.split())
    return one_line if len(one_line) <= _LONGEST else f"{one_line[: _LONGEST - 1]}…"
