"""What a Job is to the launcher: read from its labels, its status, its pod and what was said about it."""

from collections.abc import Sequence
from datetime import UTC, datetime

from launcher.job import Ended, Job, JobState, Pending, Running
from launcher.kubernetes.containers import Document
from launcher.kubernetes.ending import ended, has_started, is_ending, is_final
from launcher.kubernetes.marks import attempt_of, storage_root_of
from launcher.kubernetes.reasons import waiting_for
from launcher.kubernetes.wish import end_wish


def job_seen(job: Document, state: JobState) -> Job:
    """A Job that `is_ours` in the launcher's words."""
    return Job(attempt_of(job), storage_root_of(job), state)


def state_of(job: Document, pod: Document | None, events: Sequence[Document]) -> JobState:
    """The state of a Job.

    Args:
        job: the Job.
        pod: its pod, looked at after the Job was; None if there is none.
        events: warnings about the Jobs and pods of its namespace.
    """
    if is_final(job):
        return ended(job, pod)
    if has_started(pod):
        return Running()
    if is_ending(job):
        wish = end_wish(job)
        return Pending(f"being ended: {wish.reason}" if wish else "being ended before its driver was started")
    return Pending(waiting_for(job, pod, events), queued=bool(job["spec"].get("suspend")))


def deleted(job: Document, pod: Document | None) -> Ended:
    """The end of a Job that somebody deleted: as it ended, if it had; else a loss."""
    if is_final(job):
        return ended(job, pod)
    wish = end_wish(job)
    if wish is not None:
        return Ended(wish.outcome, None, wish.reason, datetime.now(UTC))
    return Ended("vanished", None, "the Job was deleted before it ended, not by Stratum", datetime.now(UTC))
