"""Cancels end jobs. That a job is gone is told by the observer, once it is."""

from collections.abc import Sequence

import structlog

from contracts.command import CancelCommand
from contracts.event import JobEnded, LauncherEvent
from contracts.identifiers import job_name
from launcher.backend import Backend
from launcher.errors import JobAbsent
from launcher.job import Ended
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

    def __call__(self, value: bytes) -> Sequence[LauncherEvent]:
        """Have the job ended. If there is nothing to end, that is told at once."""
        cancel = read(CancelCommand, value)
        require_genuine(cancel, self._keys, "stratum:cancel")
        name = job_name(cancel.process_id, cancel.step, cancel.attempt)
        try:
            self._backend.kill(name, "ended at the control plane's wish")
        except JobAbsent:
            log.info("nothing to cancel", job_name=name)
            stamp = attempt_stamp(self._cluster, cancel)
            return [JobEnded(**stamp, job_name=name, outcome="absent", message="there is no job of this attempt")]
        log.info("job is being ended", job_name=name)
        over = (job for job in self._backend.jobs() if job.name == name and isinstance(job.state, Ended))
        return [ended_event(self._cluster, job.spec, job.state) for job in over if isinstance(job.state, Ended)]
