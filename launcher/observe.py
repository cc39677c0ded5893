"""Tells what is seen of jobs, relists them completely, and removes those whose end is stored."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from threading import Event

import httpx
import structlog

from contracts.command import AttemptRef
from contracts.event import JobEnded, JobPending, LauncherEvent, Relist
from contracts.http import DatabaseTime
from contracts.pulse import Beat, unwatched
from launcher import metrics
from launcher.backend import Backend
from launcher.errors import BackendRefused, ClockUnavailable, NotNow
from launcher.http import reason_of
from launcher.job import Ended, Job, Pending, Running, name_of
from launcher.messages import attempt_stamp, stamp
from launcher.pacing import Every

log = structlog.get_logger()

LOG_PATIENCE = timedelta(days=1)
"""How long an ended job is kept for an object store that takes no logs."""
_LOOK_SECONDS = 1.0
_CLOCK_TIMEOUT_SECONDS = 5.0


class DatabaseClock:
    """The time that all decisions are taken on, asked from the control plane."""

    def __init__(self, base_url: str, client: httpx.Client) -> None:
        self._url = f"{base_url.rstrip('/')}/v1/time"
        self._client = client

    def now(self) -> datetime:
        """Database time.

        Raises:
            ClockUnavailable: the control plane does not answer.
        """
        try:
            response = self._client.get(self._url, timeout=_CLOCK_TIMEOUT_SECONDS)
            response.raise_for_status()
            return DatabaseTime.model_validate_json(response.content).now
        except (httpx.HTTPError, ValueError) as error:
            raise ClockUnavailable(f"{self._url} does not tell the time: {reason_of(error)}") from error


class Observer:
    """Watches the jobs of one backend. There is one observer at a time."""

    def __init__(
        self,
        backend: Backend,
        publish: Callable[[Sequence[LauncherEvent]], None],
        clock: DatabaseClock,
        logs_complete: Callable[[str], bool],
        *,
        cluster: str,
        relist_seconds: float,
        retention: timedelta,
        beat: Beat = unwatched,
    ) -> None:
        self._backend = backend
        self._publish = publish
        self._clock = clock
        self._logs_complete = logs_complete
        self._cluster = cluster
        self._retention = retention
        self._beat = beat
        self._relist_due = Every(relist_seconds)
        self._untold: dict[str, Job] = {}
        self._ends_told: set[str] = set()

    def run(self, stop: Event) -> None:
        """Watch until `stop`."""
        while not stop.is_set():
            self._beat()
            try:
                self.look(_LOOK_SECONDS)
                if self._relist_due.now():
                    self.relist()
                    self.remove_stored()
            except NotNow as reason:
                log.warning("observer waits", reason=str(reason))
                stop.wait(_LOOK_SECONDS)

    def look(self, timeout_seconds: float) -> None:
        """Tell what changed; what could not be told is told next time."""
        self._untold.update((job.name, job) for job in self._backend.changes(timeout_seconds))
        self._tell(list(self._untold.values()))
        self._untold.clear()

    def relist(self) -> None:
        """Publish one complete list of the living, and of whose jobs could not be seen.

        The time is asked before the listing: whoever is not in the list was not there after that time. Ends are told first,
        so that nobody takes an ended job for a lost one. Without the time there is no relist, and so nothing is called lost.
        """
        began_at = self._clock.now()
        survey = self._backend.survey()
        jobs = survey.jobs
        self._tell([job for job in jobs if isinstance(job.state, Ended)])
        # others may remove jobs too; what cannot be seen now is told again when it can
        self._ends_told &= {job.name for job in jobs}
        live = tuple(job.attempt for job in jobs if not isinstance(job.state, Ended))
        self._publish([Relist(**stamp(self._cluster), began_at=began_at, live=live, unseen=survey.unseen)])
        metrics.RELIST_AT.set_to_current_time()
        metrics.UNSEEN.set(len(survey.unseen))
        for state in (Pending, Running, Ended):
            metrics.JOBS.labels(state.__name__.lower()).set(sum(isinstance(job.state, state) for job in jobs))

    def remove_stored(self) -> None:
        """Remove jobs whose end is stored, whose log is shipped, and that no late message is likely to ask for."""
        now = datetime.now(UTC)
        for job in self._backend.survey().jobs:
            if not isinstance(job.state, Ended) or job.name not in self._ends_told or now - job.state.at < self._retention:
                continue
            if self._logs_complete(job.name) or now - job.state.at > LOG_PATIENCE:
                self._remove(job)

    def _remove(self, job: Job) -> None:
        try:
            self._backend.remove(job.attempt)
        except BackendRefused as refusal:
            log.warning("a job cannot be removed", reason=str(refusal), **job.log_fields)
        else:
            self._ends_told.discard(job.name)
            log.info("job removed", **job.log_fields)

    def _tell(self, jobs: Sequence[Job]) -> None:
        news = [job for job in jobs if not (isinstance(job.state, Ended) and job.name in self._ends_told)]
        self._publish([event for job in news for event in self._events(job)])
        self._ends_told.update(job.name for job in news if isinstance(job.state, Ended))

    def _events(self, job: Job) -> Sequence[LauncherEvent]:
        match job.state:
            case Pending(cause, queued):
                return [JobPending(**attempt_stamp(self._cluster, job.attempt), job_name=job.name, cause=cause, queued=queued)]
            case Ended() as ended:
                log.info("job ended", outcome=ended.outcome, exit_code=ended.exit_code, message=ended.message, **job.log_fields)
                return [ended_event(self._cluster, job.attempt, ended)]
            case Running():
                return []  # the driver says so itself, and better, when it asks for its grant


def ended_event(cluster: str, attempt: AttemptRef, ended: Ended) -> JobEnded:
    """The event of a job's end."""
    return JobEnded(
        **attempt_stamp(cluster, attempt),
        job_name=name_of(attempt),
        outcome=ended.outcome,
        exit_code=ended.exit_code,
        message=ended.message,
    )
