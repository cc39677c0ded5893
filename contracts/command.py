"""What the control plane tells the launcher: CLI-like messages on the command topics."""

import json
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from contracts.identifiers import Identifier, ProcessId, Tenant
from contracts.layout import STORAGE_ROOT_PATTERN
from contracts.model import Contract, Count, HttpAddress, Ordinal, Text, Timestamp, Tolerant, Uuid, sha256_of

Sha256 = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
MemorySize = Annotated[
    str,
    StringConstraints(pattern=r"^[1-9][0-9]{0,6}[mg]$"),
    Field(description="Spark notation: a number and m (MiB) or g (GiB).", examples=["512m", "16g"]),
]


VOLATILE_FIELDS = frozenset({"message_id", "flow_token", "traceparent"})
"""Fields of a command that may differ between two sendings of the same work; everything else makes it other work."""


def mebibytes(memory: str) -> int:
    """MiB of a `MemorySize`."""
    return int(memory[:-1]) * (1024 if memory.endswith("g") else 1)


StorageRootUri = Annotated[
    str,
    StringConstraints(pattern=STORAGE_ROOT_PATTERN),
    Field(description="`s3://bucket` or `s3://bucket/prefix` of the tenant.", examples=["s3://stratum"]),
]


class ResourceProfile(Contract):
    """What a run gets. Every field may be left out: it is then sized from the data, within the bounds of the action's profile."""

    driver_cores: Annotated[int, Field(strict=True, ge=1, le=64)] | None = None
    driver_memory: MemorySize | None = None
    executor_instances: Annotated[int, Field(strict=True, ge=1, le=10_000)] | None = None
    executor_cores: Annotated[int, Field(strict=True, ge=1, le=64)] | None = None
    executor_memory: MemorySize | None = None
    shuffle_partitions: Annotated[int, Field(strict=True, ge=1, le=100_000)] | None = None


class DatasetName(Contract):
    """A dataset inside an entity."""

    data_version: Identifier
    dataset: Identifier


class InputDataset(DatasetName):
    """A sealed dataset that a run reads, bound to the very manifest that was seen when the work was accepted."""

    view: Identifier = Field(description="The name under which a query sees it.")
    manifest_sha256: Sha256
    bytes: Count
    rows: Count


class AttemptRef(Tolerant):
    """Which attempt a message is about."""

    tenant: Tenant
    process_id: ProcessId
    step: Annotated[int, Field(strict=True, ge=0, le=1000)]
    attempt: Ordinal


class Command(AttemptRef):
    """Run one attempt. The fields are also the flags of the job's command line (`entity_id` is `--entity-id`)."""

    message_id: Uuid
    kind: Literal["run"] = "run"
    entity_id: Identifier
    data_version: Identifier
    action: Identifier
    parameters: dict[str, Any]
    action_revision: Sha256
    image: Text
    entry_point: Text = Field(description="Python module of the image that the driver runs.", examples=["spark_jobs"])
    inputs: Annotated[tuple[InputDataset, ...], Field(min_length=1, fail_fast=True)]
    output: DatasetName
    rejected_output: DatasetName | None = Field(default=None, description="Where refused rows go, when the request asks for it.")
    storage_root: StorageRootUri
    callback_url: HttpAddress
    start_before: Timestamp
    time_limit_seconds: Ordinal
    resource_profile: ResourceProfile | None = None
    process_chain: tuple[Any, ...] = ()
    flow_token: Text
    traceparent: Text | None = None


def covered_digest(message: bytes) -> str:
    """Hash of all that makes the work of a command, as its flow token covers it.

    Taken from the message as it was sent, for its reader may be older than its writer and not know every field.
    """
    return sha256_of({name: value for name, value in json.loads(message).items() if name not in VOLATILE_FIELDS})


class CancelCommand(AttemptRef):
    """End the job of one attempt, if it exists."""

    message_id: Uuid
    kind: Literal["cancel"] = "cancel"
    flow_token: Text = Field(description="Signed with the audience `stratum:cancel`, so that nobody else can kill work.")
