"""Where jobs run: the small interface that hides it. `tests/launcher/conformance.py` is its specification in code."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from contracts.command import AttemptRef
from launcher.job import Ended, Job, JobSpec


@dataclass(frozen=True, slots=True)
class Submitted:
    """The job exists. `adopted`: it was there already, made from the same command."""

    adopted: bool


@dataclass(frozen=True, slots=True)
class Survey:
    """The jobs that exist, but for those of the tenants in `unseen`: nobody could look there."""

    jobs: Sequence[Job]
    unseen: tuple[str, ...] = ()


class Backend(Protocol):
    """Keeps jobs and runs them. Jobs outlive the launcher; every method may be called from any thread.

    Every method raises `BackendUnavailable` when the backend cannot be reached.
    """

    def submit(self, spec: JobSpec) -> Submitted:
        """Make the job durable, or find it made.

        Raises:
            BackendBusy: too much waits already; nothing was made.
            CommandUnfit: it cannot be run here, or not now; its sender is told.
            JobConflict: a job of this name was made from another command.
        """

    def jobs(self) -> Sequence[Job]:
        """Every job that exists, ended ones included: all of them, or an error."""

    def survey(self) -> Survey:
        """The same, as far as it can be seen: what keeps one tenant's jobs from being listed does not hide all others'.

        Raises:
            BackendUnavailable: nothing can be seen.
        """

    def changes(self, timeout_seconds: float) -> Sequence[Job]:
        """Jobs whose state is another than the caller was told last; at first, all. Waits up to the time-out for one.

        For one caller: the observer.
        """

    def kill(self, attempt: AttemptRef, reason: str) -> Ended | None:
        """Ask the attempt's job to end, firmly after a grace. Returns once the wish is durable; the job then turns `Ended`, as `killed`.

        An ended job stays as it ended, and its end is given back.

        Raises:
            JobAbsent: there is no such job.
            BackendRefused: nobody may look for it, or end it, where it lives.
        """

    def remove(self, attempt: AttemptRef) -> None:
        """Forget the attempt's ended job and all that it left; one that is gone already is fine.

        Raises:
            BackendRefused: nobody may remove it where it lives.
        """


class LogSource(Protocol):
    """Gives the output of its jobs' drivers: what a backend can do whose drivers write to this machine."""

    def jobs(self) -> Sequence[Job]:
        """See `Backend.jobs`."""

    def read_log(self, attempt: AttemptRef, offset: int, size: int) -> bytes:
        """At most `size` bytes of the output of the attempt's driver from byte `offset` on; empty at its present end.

        Raises:
            JobAbsent: there is no such job.
        """
