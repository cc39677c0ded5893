"""Cancels end jobs. That a job is gone is told by the observer, once it is."""

from collections.abc import Sequence

import structlog

from contracts.command import CancelCommand
from contracts.event import JobEnded, LauncherEvent
from launcher.backend import Backend
from launcher.errors import BackendRefused, JobAbsent
from launcher.job import name_of
from launcher.keys import JwksKeys, require_genuine
from launcher.messages import attempt_stamp, read
from launcher.observe import ended_event

log = structlog.get_logger()


class CancelHandler:
    """Handles messages of the cancel topic (see `consuming.Handler`)."""

    def __init__(self, backend: Backend, keys: JwksKeys, cluster: str) -> None:
        self._backend = backend
        self._keys = keys
        self._cluster = cluster

    def __call__(self, value: bytes, read_at: float) -> Sequence[LauncherEvent]:
        """Have the job ended. If there is nothing to end, that is told at once.

        Where nobody may end it, nothing is told: the control plane says a cancel again until its job is known to be gone.
        """
        cancel = read(CancelCommand, value)
        require_genuine(cancel, self._keys, "stratum:cancel", read_at)
        name = name_of(cancel)
        try:
            ended = self._backend.kill(cancel, "ended at the control plane's wish")
        except JobAbsent:
            log.info("nothing to cancel", job_name=name)
            stamp = attempt_stamp(self._cluster, cancel)
            return [JobEnded(**stamp, job_name=name, outcome="absent", message="there is no job of this attempt")]
        except BackendRefused as refusal:
            log.warning("a job cannot be ended; its cancel comes again", tenant=cancel.tenant, job_name=name, reason=str(refusal))
            return []
        log.info("job is being ended" if ended is None else "job has ended already", job_name=name)
        return [] if ended is None else [ended_event(self._cluster, cancel, ended)]
