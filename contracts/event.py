"""What the launcher did and saw: messages on the event topic."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field, TypeAdapter

from contracts.command import AttemptRef, ResourceProfile
from contracts.model import Tolerant


class _Event(Tolerant):
    event_id: UUID
    at: datetime = Field(description="Clock of the launcher; for people. Decisions are taken on database time.")
    cluster: str = Field(description="Which cluster, or which machine's local platform, this was seen on.")


class _JobEvent(_Event, AttemptRef):
    job_name: str


class JobSubmitted(_JobEvent):
    """The job exists. `adopted`: it was there already, made by an earlier try with the same command."""

    type: Literal["submitted"] = "submitted"
    resource_profile: ResourceProfile
    adopted: bool = False


class JobPending(_JobEvent):
    """The job exists and waits; `cause` says for what, in words a caller understands."""

    type: Literal["pending"] = "pending"
    cause: str


class JobEnded(_JobEvent):
    """The job is over, or there is none to cancel (`outcome` = `absent`)."""

    type: Literal["ended"] = "ended"
    outcome: Literal["completed", "failed", "killed", "out_of_memory", "time_limit", "vanished", "absent"]
    exit_code: int | None = None
    message: str = Field(description="Why, in plain words.")


class CommandRefused(_Event, AttemptRef):
    """The launcher read the command and will not run it: forged, unknown action, impossible resources."""

    type: Literal["refused"] = "refused"
    error_class: str
    message: str


class Relist(_Event):
    """One complete list of the jobs that exist.

    Only its absence from such a list, begun after its lease was over, makes an attempt lost.
    """

    type: Literal["relist"] = "relist"
    began_at: datetime = Field(description="Database time, asked from the control plane before the listing began.")
    live: tuple[AttemptRef, ...] = Field(description="Attempts whose job exists, pending or running.")


LauncherEvent = Annotated[JobSubmitted | JobPending | JobEnded | CommandRefused | Relist, Field(discriminator="type")]
launcher_event: TypeAdapter[LauncherEvent] = TypeAdapter(LauncherEvent)
