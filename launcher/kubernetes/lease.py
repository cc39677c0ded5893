"""A Lease (`coordination.k8s.io/v1`): one holder at a time, and none that only believes it is one.

Whoever holds it renews it. Whoever wants it waits until it has seen the same version of it for as long as its holder may keep it, on its
own clock: clocks of two machines are never compared. The holder counts from before it asked, so it stops before another begins.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Event

import structlog

from contracts.pulse import Beat
from launcher.errors import BackendError, NotLeading
from launcher.kubernetes.api import AlreadyExists, Conflict, KubernetesApi, NotFound
from launcher.kubernetes.containers import Document
from launcher.roles import Role

log = structlog.get_logger()

DURATION_SECONDS = 24
"""After a holder was killed, another takes over so much later."""
_RENEWALS = 6
"""In the time that the Lease is good for."""


class Lease:
    """One candidate's side of the Lease. `holder`: unique among the living, the same after a restart."""

    def __init__(self, api: KubernetesApi, namespace: str, name: str, holder: str, *, duration_seconds: int = DURATION_SECONDS) -> None:
        self._api = api
        self._folder = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._name = name
        self.holder = holder
        self._duration = duration_seconds
        self._good_until = float("-inf")
        self._seen_version = ""
        self._seen_at = 0.0

    @property
    def renew_seconds(self) -> float:
        """How often it is to be taken again."""
        return self._duration / _RENEWALS

    @property
    def seconds_left(self) -> float:
        """For how long nobody else can take it; 0 or less when it is not held."""
        return self._good_until - time.monotonic()

    def require(self, seconds: float) -> None:
        """Pass if nobody else can take it for so long.

        Raises:
            NotLeading: somebody could.
        """
        if self.seconds_left < seconds:
            raise NotLeading(f"the Lease {self._name} is not ours for the next {seconds:g} s")

    def take(self) -> bool:
        """Take it, or renew it; False when another has it.

        Raises:
            BackendError: the API server does not answer, or refuses. Whatever was held is held until its time is over.
        """
        asked_at = time.monotonic()
        try:
            lease = self._api.get(self._path)
        except NotFound:
            lease = None
        if lease is not None and not self._is_free(lease):
            self._good_until = float("-inf")
            return False
        try:
            if lease is None:
                self._api.create(self._folder, self._taken({"metadata": {"name": self._name}, "spec": {}}))
            else:
                self._api.replace(self._path, self._taken(lease))
        except (AlreadyExists, Conflict, NotFound):
            return False  # somebody was faster; what it is now shows the next look
        self._good_until = asked_at + self._duration
        return True

    def release(self) -> None:
        """Give it up, if it is ours, so that nobody has to wait. To be called when the work is over.

        Raises:
            BackendError: the API server does not answer, or refuses.
        """
        self._good_until = float("-inf")
        lease = self._api.get(self._path)
        if lease["spec"].get("holderIdentity") == self.holder:
            self._api.replace(self._path, {**lease, "spec": {**lease["spec"], "holderIdentity": "", "renewTime": _now()}})

    @property
    def _path(self) -> str:
        return f"{self._folder}/{self._name}"

    def _is_free(self, lease: Document) -> bool:
        version, spec = lease["metadata"]["resourceVersion"], lease.get("spec", {})
        if version != self._seen_version:
            self._seen_version, self._seen_at = version, time.monotonic()
        if spec.get("holderIdentity") in (None, "", self.holder):
            return True
        return time.monotonic() - self._seen_at > float(spec.get("leaseDurationSeconds", self._duration))

    def _taken(self, lease: Document) -> Document:
        spec, now = lease.get("spec", {}), _now()
        taken = {**spec, "holderIdentity": self.holder, "leaseDurationSeconds": self._duration, "renewTime": now}
        if spec.get("holderIdentity") != self.holder:
            taken |= {"acquireTime": now, "leaseTransitions": spec.get("leaseTransitions", 0) + 1}
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", **lease, "spec": taken}


class Leadership:
    """Runs a role while the Lease is held: a new turn of it each time it is won, ended before the Lease is given up."""

    def __init__(self, lease: Lease, role: Role, beat: Beat) -> None:
        self._lease = lease
        self._role = role
        self._beat = beat

    def run(self, stop: Event) -> None:
        """Lead, or wait to lead, until `stop`, or until the role fails."""
        while not stop.is_set():
            self._beat()
            if self._take():
                self._lead(stop)
            stop.wait(self._lease.renew_seconds)

    def _lead(self, stop: Event) -> None:
        log.info("leading")
        over = Event()
        with ThreadPoolExecutor(1, "leader") as threads:
            term = threads.submit(self._role, over)
            try:
                while not (term.done() or stop.wait(self._lease.renew_seconds)) and self._lease.seconds_left > 0:
                    self._beat()
                    self._take()
            finally:
                over.set()
        self._release()
        log.info("leads no more")
        term.result()

    def _take(self) -> bool:
        try:
            return self._lease.take()
        except BackendError as reason:
            log.warning("the Lease cannot be asked for", reason=str(reason))
            return False

    def _release(self) -> None:
        try:
            self._lease.release()
        except BackendError as reason:
            log.warning("the Lease was not given up; it runs out by itself", reason=str(reason))


def _now() -> str:
    """As Kubernetes writes a MicroTime."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
