"""Follows the Jobs of all namespaces, and gives each new state once."""

import time
from collections.abc import Callable, Iterator, Sequence

import structlog

from launcher.errors import BackendError, BackendUnavailable
from launcher.job import Ended, Job, JobState
from launcher.kubernetes import paths
from launcher.kubernetes.api import ApiRefused, KubernetesApi
from launcher.kubernetes.containers import Document
from launcher.kubernetes.ending import is_final
from launcher.kubernetes.image_patience import ImagePatience
from launcher.kubernetes.listing import driver_selector, may_need_warnings, pod_of, warnings
from launcher.kubernetes.marks import is_ours
from launcher.kubernetes.mirror import JobKey, Mirror
from launcher.kubernetes.reasons import ImageTrouble
from launcher.kubernetes.state import deleted, job_seen, state_of
from launcher.kubernetes.watching import Watcher, stop_all

log = structlog.get_logger()

WARNINGS_SECONDS = 3.0
"""How often a namespace with waiting Jobs is asked what the cluster complains of."""


class JobWatch:
    """What was seen and what was told. For one caller, who is held up by nothing but the first listing.

    `end`: called for a Job whose image could not be pulled for `image_patience_seconds`.
    """

    def __init__(
        self,
        api: KubernetesApi,
        namespaces: Sequence[str],
        selector: str,
        image_patience_seconds: float,
        end: Callable[[JobKey, ImageTrouble], None],
    ) -> None:
        self._api = api
        self._namespaces = namespaces
        self._selector = selector
        self._patience = ImagePatience(image_patience_seconds)
        self._end = end
        self._mirror = Mirror()
        self._watchers: list[Watcher] = []
        self._told: dict[JobKey, tuple[str, JobState]] = {}
        self._gone: list[tuple[Document, Document | None]] = []
        self._waiting: set[JobKey] = set()
        self._warnings: dict[str, Sequence[Document]] = {}
        self._warnings_due = 0.0
        self._put_off: set[JobKey] = set()

    def changes(self, timeout_seconds: float) -> Sequence[Job]:
        """See `Backend.changes`."""
        self._start()
        self._mirror.touch(self._put_off)
        self._put_off.clear()
        deadline = time.monotonic() + timeout_seconds
        while True:
            self._check()
            self._look_at_warnings()
            jobs = self._news()
            left = deadline - time.monotonic()
            if jobs or left <= 0:
                return jobs
            self._mirror.wait(min(left, WARNINGS_SECONDS))

    def stop(self) -> None:
        """End the watches."""
        stop_all(self._watchers)

    def _start(self) -> None:
        if not self._watchers:
            self._watchers = list(self._make_watchers())
            for watcher in self._watchers:
                watcher.start()

    def _make_watchers(self) -> Iterator[Watcher]:
        for namespace in self._namespaces:
            yield Watcher(self._api, self._mirror, "job", namespace, paths.jobs(namespace), self._selector)
            yield Watcher(self._api, self._mirror, "pod", namespace, paths.pods(namespace), driver_selector(self._selector))

    def _check(self) -> None:
        """A namespace that is refused hides its own Jobs; that all of them are is trouble for whoever looks."""
        refusals = [watcher.check() for watcher in self._watchers]
        if refusals and all(refusals):
            raise BackendUnavailable(f"no namespace of {', '.join(self._namespaces)} can be watched: {refusals[0]}") from refusals[0]

    def _look_at_warnings(self) -> None:
        """Complaints are asked for, not watched: few Jobs wait for long, and one question serves all of a namespace."""
        if not self._waiting or time.monotonic() < self._warnings_due:
            return
        namespaces = {key.namespace for key in self._waiting}
        self._warnings = {namespace: self._complaints(namespace) for namespace in namespaces}
        self._warnings_due = time.monotonic() + WARNINGS_SECONDS
        self._mirror.touch(self._waiting)

    def _complaints(self, namespace: str) -> Sequence[Document]:
        try:
            return warnings(self._api, namespace)
        except ApiRefused as refusal:
            log.warning("the warnings of a namespace cannot be read", namespace=namespace, reason=str(refusal))
            return ()

    def _news(self) -> list[Job]:
        """States that were not told. If the API server fails meanwhile, all is looked at again next time."""
        changed = [(job, pod) for job, pod in self._mirror.take_changed() if is_ours(job)]
        self._gone += [(job, pod) for job, pod in self._mirror.take_gone() if is_ours(job)]
        try:
            seen = [(job, self._state_if_shown(job, pod)) for job, pod in changed if not self._end_was_told(job)]
        except BackendError:
            self._mirror.touch(_key(job) for job, _ in changed)
            raise
        told = [(job, state) for job, state in seen if state is not None and self._tell(job, state)]
        lost = [(job, deleted(job, pod)) for job, pod in self._gone if not self._end_was_told(job)]
        for job, _ in self._gone:
            self._forget(job)
        self._gone = []
        return [job_seen(job, state) for job, state in [*told, *lost]]

    def _state_if_shown(self, job: Document, pod: Document | None) -> JobState | None:
        """None: its namespace is refused now; it is looked at again by the next call."""
        try:
            return self._state(job, pod)
        except ApiRefused as refusal:
            log.warning("a Job cannot be looked at", job_name=_key(job).name, namespace=_key(job).namespace, reason=str(refusal))
            self._put_off.add(_key(job))
            return None

    def _state(self, job: Document, pod: Document | None) -> JobState:
        key = _key(job)
        self._waiting.discard(key)
        if is_final(job):
            self._patience.forget(key)
            # the two watches may be a moment apart, and an end is told only once; a pod that is gone is as it was last seen
            return state_of(job, pod_of(self._api, job) or pod, ())
        if may_need_warnings(job, pod):
            self._waiting.add(key)
            trouble = self._patience.used_up_by(key, pod)
            if trouble is not None:
                self._end(key, trouble)
        else:
            self._patience.forget(key)
        return state_of(job, pod, self._warnings.get(key.namespace, ()))

    def _tell(self, job: Document, state: JobState) -> bool:
        known = (job["metadata"]["uid"], state)
        if self._told.get(_key(job)) == known:
            return False
        self._told[_key(job)] = known
        return True

    def _end_was_told(self, job: Document) -> bool:
        uid, state = self._told.get(_key(job), (None, None))
        return uid == job["metadata"]["uid"] and isinstance(state, Ended)

    def _forget(self, job: Document) -> None:
        key = _key(job)
        self._waiting.discard(key)
        self._patience.forget(key)
        if self._told.get(key, ("",))[0] == job["metadata"]["uid"]:
            del self._told[key]


def _key(job: Document) -> JobKey:
    return JobKey(job["metadata"]["namespace"], job["metadata"]["name"])
