"""What a run tells the control plane over HTTP, and what it is told back."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, ValidationInfo, field_validator

from contracts.command import Sha256
from contracts.identifiers import Identifier
from contracts.model import Contract, Count, Ordinal, Text, Timestamp, Words

ERROR_CLASS_PATTERN = r"^[A-Z][A-Z0-9_.]*$"


class Progress(Contract):
    """How far a run is."""

    fraction: Annotated[float, Field(strict=True, ge=0, le=1)] | None = None
    stage: Annotated[Words, Field(max_length=200)] | None = None
    tasks_done: Count | None = None
    tasks_total: Count | None = None
    waiting: Annotated[Words, Field(max_length=500)] | None = Field(
        default=None, description="What the run waits for, such as executors that the cluster refuses. Absent: it does not wait."
    )


class ProposalRef(Contract):
    """Where the run's proposal lies and what its bytes hash to."""

    key: Annotated[Text, Field(max_length=1024)]
    sha256: Sha256


class RunError(Contract):
    """Why a run failed. `class` is Spark's error class, or one of Stratum's own in the same notation."""

    class_: Annotated[str, Field(alias="class", max_length=200, pattern=ERROR_CLASS_PATTERN)]
    message: Annotated[Words, Field(max_length=4000)]
    retryable: bool = Field(
        strict=True,
        default=False,
        description="Whether the run thinks it may pass. It is tried again only if the table of error classes says so too.",
    )


_NEEDED = {"finished": "proposal", "failed": "error"}
"""Fields that a type of callback cannot do without."""


def _needs(callback_type: str, field: str) -> dict[str, Any]:
    return {
        "if": {"properties": {"type": {"const": callback_type}}, "required": ["type"]},
        "then": {"properties": {field: {"type": "object"}}, "required": [field]},
    }


class Callback(Contract):
    """One report of a run. `sequence` grows by one with each report of the run; a report that was seen already changes nothing."""

    model_config = ConfigDict(json_schema_extra={"allOf": [_needs(*pair) for pair in _NEEDED.items()]})

    type: Literal["started", "heartbeat", "finished", "failed"]
    sequence: Ordinal
    run_id: Identifier
    progress: Progress | None = None
    proposal: ProposalRef | None = Field(default=None, validate_default=True)
    error: RunError | None = Field(default=None, validate_default=True)

    @field_validator(*_NEEDED.values())
    @classmethod
    def _is_there_when_needed(cls, value: Contract | None, info: ValidationInfo) -> Contract | None:
        callback_type = info.data.get("type", "")
        if value is None and _NEEDED.get(callback_type) == info.field_name:
            raise ValueError(f"a `{callback_type}` callback needs `{info.field_name}`")
        return value


class Grant(Contract):
    """The answer to every accepted callback: to `started` it is the right to write, later it renews the run token."""

    run_token: str
    expires_at: Timestamp
    heartbeat_seconds: Annotated[float, Field(strict=True, gt=0)] = Field(description="Report at least this often.")
    storage_root: str = Field(description="`s3://bucket` or `s3://bucket/prefix` of the tenant.", examples=["s3://stratum"])
    state: str = Field(description="State of the attempt after the report.")
