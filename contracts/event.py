"""What the launcher did and saw: messages on the event topic."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter

from contracts.command import AttemptRef, ResourceProfile
from contracts.identifiers import Tenant
from contracts.model import Text, Timestamp, Tolerant, Uuid, Words


def _require_type(schema: dict[str, Any]) -> None:
    """An event is told by its `type`: a default serves who makes one, never who reads one."""
    schema["required"] = ["type", *schema["required"]]


class _Event(Tolerant):
    model_config = ConfigDict(json_schema_extra=_require_type)

    event_id: Uuid
    at: Timestamp = Field(description="Clock of the launcher; for people. Decisions are taken on database time.")
    cluster: Text = Field(description="Which cluster, or which machine's local platform, this was seen on.")


class _JobEvent(_Event, AttemptRef):
    job_name: Text


class JobSubmitted(_JobEvent):
    """The job exists. `adopted`: it was there already, made by an earlier try with the same command."""

    type: Literal["submitted"] = "submitted"
    resource_profile: ResourceProfile
    adopted: Annotated[bool, Field(strict=True)] = False


class JobPending(_JobEvent):
    """The job exists and waits; `cause` says for what, in words a caller understands."""

    type: Literal["pending"] = "pending"
    cause: Words
    queued: Annotated[bool, Field(strict=True)] = Field(
        default=False,
        description="A queue holds the job and will let it go: the wait does not count against the action's `pending_limit_seconds`.",
    )


class JobEnded(_JobEvent):
    """The job is over, or there is none to cancel (`outcome` = `absent`)."""

    type: Literal["ended"] = "ended"
    outcome: Literal["completed", "failed", "killed", "out_of_memory", "time_limit", "vanished", "evicted", "image_unavailable", "absent"]
    exit_code: Annotated[int, Field(strict=True)] | None = None
    message: Words = Field(description="Why, in plain words.")


class CommandRefused(_Event, AttemptRef):
    """The launcher read the command and will not run it: forged, unknown action, impossible resources."""

    type: Literal["refused"] = "refused"
    error_class: Text
    message: Words


class Relist(_Event):
    """One complete list of the jobs that exist, but for those of tenants that it names as `unseen`.

    Only its absence from such a list, begun after its lease was over, makes an attempt lost.
    """

    type: Literal["relist"] = "relist"
    began_at: Timestamp = Field(description="Database time, asked from the control plane before the listing began.")
    live: tuple[AttemptRef, ...] = Field(fail_fast=True, description="Attempts whose job exists, pending or running.")
    unseen: tuple[Tenant, ...] = Field(
        default=(), fail_fast=True, description="Tenants whose jobs could not be listed: nothing of theirs is lost by this list."
    )


LauncherEvent = Annotated[
    JobSubmitted | JobPending | JobEnded | CommandRefused | Relist,
    Field(discriminator="type", title="LauncherEvent", description="What the launcher did and saw; `type` tells which."),
]
launcher_event: TypeAdapter[LauncherEvent] = TypeAdapter(LauncherEvent)
