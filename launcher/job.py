"""Jobs: what is asked of a backend, and what it sees of them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from contracts.command import VOLATILE_FIELDS, AttemptRef, Command
from contracts.identifiers import job_name
from contracts.model import sha256_of
from contracts.sizing import Resources

EndOutcome = Literal["completed", "failed", "killed", "out_of_memory", "time_limit", "vanished", "evicted", "image_unavailable"]


def digest_of(command: Command) -> str:
    """Hash of all that makes the work of a command: two commands of one attempt must agree in it."""
    return sha256_of(command.model_dump(mode="json", exclude=set(VOLATILE_FIELDS)))


@dataclass(frozen=True, slots=True)
class JobSpec:
    """One attempt to be run. `command` carries the full resource profile, so that the driver sees what it was given."""

    command: Command
    resources: Resources
    digest: str

    @classmethod
    def of(cls, command: Command, resources: Resources) -> "JobSpec":
        """The job of `command` as it was received, with the resources that it was sized to."""
        resolved = command.model_copy(update={"resource_profile": resources.as_profile()})
        return cls(resolved, resources, digest_of(command))

    @property
    def name(self) -> str:
        """Deterministic: a second submission of the attempt meets the first."""
        return name_of(self.command)

    @property
    def attempt(self) -> AttemptRef:
        """Which attempt this is."""
        return AttemptRef(
            tenant=self.command.tenant,
            process_id=self.command.process_id,
            step=self.command.step,
            attempt=self.command.attempt,
        )

    @property
    def log_fields(self) -> dict[str, str | int]:
        """What every log line about the job says."""
        return _log_fields(self.command)


@dataclass(frozen=True, slots=True)
class Pending:
    """The job waits; `cause` says for what, in words a caller understands. `queued`: a queue holds it, and will let it go."""

    cause: str
    queued: bool = False


@dataclass(frozen=True, slots=True)
class Running:
    """The driver was started."""


@dataclass(frozen=True, slots=True)
class Ended:
    """Nothing of the job runs any more. `exit_code` is that of the driver, 128 + signal if one ended it."""

    outcome: EndOutcome
    exit_code: int | None
    message: str
    at: datetime


JobState = Pending | Running | Ended


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it was seen: what can be known of it without reading its command, which holds a token."""

    attempt: AttemptRef
    storage_root: str
    state: JobState

    @property
    def name(self) -> str:
        """The name that was derived from its attempt."""
        return name_of(self.attempt)

    @property
    def log_fields(self) -> dict[str, str | int]:
        """What every log line about the job says."""
        return _log_fields(self.attempt)


def name_of(ref: AttemptRef) -> str:
    """The name of an attempt's job."""
    return job_name(ref.process_id, ref.step, ref.attempt)


def _log_fields(ref: AttemptRef) -> dict[str, str | int]:
    return {"job_name": name_of(ref), "process_id": str(ref.process_id), "step": ref.step, "attempt": ref.attempt}
