"""What the watches have seen: a copy of the Jobs and driver pods, and which of them are to be looked at again."""

import threading
from collections.abc import Iterable
from typing import Literal, NamedTuple

from launcher.kubernetes import names
from launcher.kubernetes.containers import Document

Kind = Literal["job", "pod"]


class JobKey(NamedTuple):
    """A Job of any namespace."""

    namespace: str
    name: str


class Mirror:
    """Fed by the threads that watch, read by the one that tells. A Job that goes is kept until it was told."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._jobs: dict[JobKey, Document] = {}
        self._pods: dict[JobKey, dict[str, Document]] = {}
        self._dirty: set[JobKey] = set()
        self._gone: list[tuple[Document, Document | None]] = []

    def replace(self, kind: Kind, namespace: str, items: Iterable[Document]) -> None:
        """Take a complete list: what is not in it is gone."""
        with self._changed:
            uids = set()
            for item in items:
                uids.add(item["metadata"]["uid"])
                self._put(kind, item)
            for known in self._known(kind, namespace):
                if known["metadata"]["uid"] not in uids:
                    self._drop(kind, known)
            self._changed.notify_all()

    def apply(self, kind: Kind, event: str, item: Document) -> None:
        """Take one event of a watch."""
        with self._changed:
            if event == "DELETED":
                self._drop(kind, item)
            else:
                self._put(kind, item)
            self._changed.notify_all()

    def touch(self, keys: Iterable[JobKey]) -> None:
        """Have Jobs looked at again, though nothing of them changed."""
        with self._changed:
            self._dirty.update(keys)

    def wait(self, seconds: float) -> None:
        """Wait until something is to be looked at."""
        with self._changed:
            self._changed.wait_for(lambda: self._dirty or self._gone, seconds)

    def wake(self) -> None:
        """End a wait."""
        with self._changed:
            self._changed.notify_all()

    def take_changed(self) -> list[tuple[Document, Document | None]]:
        """Jobs that are to be looked at, each with its pod; they count as looked at from now on."""
        with self._changed:
            keys, self._dirty = self._dirty, set()
            return [(self._jobs[key], self._pod(key)) for key in keys if key in self._jobs]

    def take_gone(self) -> list[tuple[Document, Document | None]]:
        """Jobs that were deleted, as they were last seen, each with its pod."""
        with self._changed:
            gone, self._gone = self._gone, []
            return gone

    def _put(self, kind: Kind, item: Document) -> None:
        key = _key(kind, item)
        if kind == "job":
            known = self._jobs.get(key)
            if known is not None and known["metadata"]["uid"] != item["metadata"]["uid"]:
                self._drop(kind, known)
            self._jobs[key] = item
        else:
            self._pods.setdefault(key, {})[item["metadata"]["uid"]] = item
        self._dirty.add(key)

    def _drop(self, kind: Kind, item: Document) -> None:
        key = _key(kind, item)
        if kind == "pod":
            if key in self._jobs:
                self._put(kind, item)  # as it was last seen: it may be all that tells how its Job ended
            else:
                self._pods.pop(key, None)
            return
        known = self._jobs.get(key)
        if known is not None and known["metadata"]["uid"] == item["metadata"]["uid"]:
            self._gone.append((item, self._pod(key)))
            del self._jobs[key]
            self._pods.pop(key, None)

    def _known(self, kind: Kind, namespace: str) -> list[Document]:
        if kind == "job":
            return [item for key, item in self._jobs.items() if key.namespace == namespace]
        return [item for key, pods in self._pods.items() if key.namespace == namespace for item in pods.values()]

    def _pod(self, key: JobKey) -> Document | None:
        return newest(self._pods.get(key, {}).values())


def newest(pods: Iterable[Document]) -> Document | None:
    """The pod that was made last."""
    return max(pods, key=lambda pod: str(pod["metadata"]["creationTimestamp"]), default=None)


def _key(kind: Kind, item: Document) -> JobKey:
    metadata = item["metadata"]
    return JobKey(metadata["namespace"], metadata["name"] if kind == "job" else metadata["labels"].get(names.JOB_OF_POD, ""))
