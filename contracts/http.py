"""Request and response bodies of the HTTP API."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field, JsonValue, StringConstraints

from contracts.command import ResourceProfile, Sha256
from contracts.identifiers import Identifier
from contracts.manifest import Manifest
from contracts.model import Contract, StorableObject, Tolerant, at_most
from contracts.states import AttemptState, ProcessState
from contracts.tombstone import Reason
from contracts.webhook import CallbackUrl

MOST_LABELS = 32
MOST_FILES = 10_000
"""Of one upload."""
Label = Annotated[str, StringConstraints(max_length=256, pattern=r"^[^\x00]*$")]


class ProcessRequest(Contract):
    """Run one action on one data version."""

    entity_id: Identifier
    data_version: Identifier
    action: Identifier
    parameters: StorableObject = {}
    input_dataset: Identifier = Field(default="source", description="The dataset of `data_version` that is read.")
    output_dataset: Identifier | None = Field(default=None, description="Name of the result; the action's name if left out.")
    output_data_version: Identifier | None = Field(default=None, description="Version of the result; `data_version` if left out.")
    resource_profile: ResourceProfile | None = None
    priority: Annotated[int, Field(strict=True, ge=-100, le=100, description="Higher goes first, within the tenant's share.")] = 0
    callback_url: CallbackUrl | None = None
    labels: Annotated[dict[Identifier, Label], Field(max_length=MOST_LABELS), at_most(MOST_LABELS)] = {}

    model_config = {
        "json_schema_extra": {
            "examples": [
                {
                    "entity_id": "cust_8842",
                    "data_version": "v2024.10.05",
                    "action": "aggregate_revenue",
                    "parameters": {"currency": "EUR"},
                }
            ]
        }
    }


_PROCESS_EXAMPLE: dict[str, JsonValue] = {
    "id": "01a20065-f2df-71c8-870b-06a65fa44268",
    "state": "succeeded",
    "reason": "the dataset is sealed",
    "entity_id": "cust_8842",
    "data_version": "v2024.10.05",
    "action": "aggregate_revenue",
    "action_revision": "sha256:758cfd8e7bf390ab0b8e5e3e7a2dc490bba7bfb121935488a0a52690b4fa600b",
    "parameters": {"currency": "EUR"},
    "input_dataset": "source",
    "output_dataset": "aggregate_revenue",
    "output_data_version": "v2024.10.05",
    "priority": 0,
    "labels": {},
    "queue": None,
    "attempts": [
        {
            "number": 1,
            "state": "succeeded",
            "reason": "sealed",
            "run_id": "1d9a4e07-dd08-4d85-aa0b-05be6e3bc70f",
            "started_at": "2024-10-05T12:00:04Z",
            "ended_at": "2024-10-05T12:00:19Z",
        }
    ],
    "metrics": {"rows_in": 1200, "rows_out": 12, "bytes_in": 48211, "bytes_out": 1904, "seconds": 14.2},
    "artifacts": [
        {
            "dataset": "aggregate_revenue",
            "data_version": "v2024.10.05",
            "location": "s3://stratum/cust_8842/v2024.10.05/aggregate_revenue/1d9a4e07-dd08-4d85-aa0b-05be6e3bc70f/",
            "manifest": "s3://stratum/cust_8842/v2024.10.05/aggregate_revenue/_manifest.json",
            "rows": 12,
            "bytes": 1904,
            "content_fingerprint": "sf1:b8a93d9e60b905383fcef35a8d68757c-12",
        }
    ],
    "created_at": "2024-10-05T12:00:00Z",
    "ended_at": "2024-10-05T12:00:20Z",
    "retry_of": None,
}


class QueuePlace(Tolerant):
    """Where a waiting process stands."""

    place: Annotated[int, Field(ge=1, description="1 is next.")]
    cause: str = Field(description="Why it waits.")


class Attempt(Tolerant):
    """One try."""

    number: int
    state: AttemptState
    reason: str
    run_id: str | None
    error_class: str | None = None
    started_at: datetime | None
    ended_at: datetime | None
    progress: dict[str, Any] | None = None
    resource_profile: dict[str, Any] | None = None


class Metrics(Tolerant):
    """What the successful run read and wrote; null until then."""

    rows_in: int | None = None
    rows_out: int | None = None
    bytes_in: int | None = None
    bytes_out: int | None = None
    seconds: float | None = None


class Artifact(Tolerant):
    """A sealed dataset that the process made."""

    dataset: str
    data_version: str
    location: str
    manifest: str = Field(description="`s3://bucket/key` of the manifest.")
    rows: int
    bytes: int
    content_fingerprint: str | None


class Process(Tolerant):
    """A request and all that became of it."""

    model_config = {"json_schema_extra": {"examples": [_PROCESS_EXAMPLE]}}

    id: UUID
    state: ProcessState
    reason: str
    entity_id: str
    data_version: str
    action: str
    action_revision: str
    parameters: dict[str, Any]
    input_dataset: str
    output_dataset: str
    output_data_version: str
    priority: int
    labels: dict[str, str]
    queue: QueuePlace | None = Field(
        description="While it waits. Null in answers to a POST, too, while more than 1,000 wait: GET the process."
    )
    attempts: list[Attempt]
    metrics: Metrics
    artifacts: list[Artifact]
    created_at: datetime
    ended_at: datetime | None
    retry_of: UUID | None


class ProcessPage(Tolerant):
    """Newest first."""

    items: list[Process]
    next_cursor: str | None


class ProcessEvent(Tolerant):
    """One entry of a process's history; `sequence` counts from 1 without gaps."""

    sequence: int
    type: str
    at: datetime
    data: dict[str, Any]


class EventPage(Tolerant):
    """The history, oldest first."""

    items: list[ProcessEvent]
    next_cursor: str | None = None


class ActionDescription(Tolerant):
    """An action of the catalog."""

    name: str
    description: str
    revision: str
    parameters: dict[str, Any] = Field(description="JSON Schema (2020-12).")
    deterministic: bool
    examples: list[dict[str, Any]]


class ActionList(Tolerant):
    """All actions by name."""

    items: list[ActionDescription]


class EntitySummary(Tolerant):
    """An entity that has data."""

    entity_id: str
    versions: int
    datasets: int
    updated_at: datetime


class EntityPage(Tolerant):
    """Entities by name."""

    items: list[EntitySummary]
    next_cursor: str | None


class DatasetSummary(Tolerant):
    """A sealed dataset."""

    dataset: str
    location: str
    rows: int
    bytes: int
    content_fingerprint: str | None
    process_id: UUID | None
    created_at: datetime


class VersionSummary(Tolerant):
    """A data version and what is sealed in it."""

    data_version: str
    datasets: list[DatasetSummary]


class VersionPage(Tolerant):
    """Versions by name."""

    items: list[VersionSummary]
    next_cursor: str | None


class FileUrl(Tolerant):
    """A presigned GET of one data file, good for a short time."""

    key: str
    url: str


class Dataset(Manifest):
    """The manifest, and presigned reads of its files in the same order."""

    manifest: str = Field(description="`s3://bucket/key` of the manifest.")
    manifest_sha256: Sha256
    urls: tuple[FileUrl, ...]


class RetireRequest(Contract):
    """Why a dataset is retired."""

    reason: Reason = Field(examples=["asked for by the customer, ticket 4711"])
    dry_run: bool = Field(default=False, description="Only say what depends on it.")


class DatasetRef(Tolerant):
    """A dataset of the same entity."""

    data_version: str
    dataset: str


class Retirement(Tolerant):
    """A dataset's retirement; of a dry run, what it would meet."""

    entity_id: str
    data_version: str
    dataset: str
    location: str
    bytes: int
    retired_at: datetime | None = Field(description="Null: it is not retired.")
    retired_by: str | None
    reason: str | None
    files_go_at: datetime | None = Field(description="From then on the sweeper removes its files.")
    files_removed_at: datetime | None
    active_readers: list[UUID] = Field(description="Processes that read it now; while there are any it cannot be retired.")
    made_from_it: list[DatasetRef] = Field(description="Datasets that were made from it: they stay, and cannot be reproduced without it.")


class UploadFile(Contract):
    """A file that the caller wants to upload."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,199}\.parquet$")] = Field(examples=["part-00000.parquet"])
    bytes: Annotated[int, Field(strict=True, ge=1, le=5 * 1024**3, description="S3 takes at most 5 GiB in one PUT: split larger files.")]
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class UploadRequest(Contract):
    """The files of a dataset to be."""

    model_config = {
        "json_schema_extra": {
            "examples": [
                {
                    "files": [
                        {
                            "name": "part-00000.parquet",
                            "bytes": 5242880,
                            "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                        }
                    ]
                }
            ]
        }
    }

    files: Annotated[tuple[UploadFile, ...], Field(min_length=1, max_length=MOST_FILES, fail_fast=True), at_most(MOST_FILES)]


class UploadTarget(Tolerant):
    """Where to PUT one file: `url` with exactly these `headers`, and a `Content-Length`, which must be the announced `bytes`."""

    name: str
    url: str
    headers: dict[str, str]


class Upload(Tolerant):
    """An upload under way."""

    upload_id: UUID
    expires_at: datetime
    files: list[UploadTarget]


class DatabaseTime(Tolerant):
    """The clock that all decisions are taken on."""

    now: datetime


class QuotaUse(Tolerant):
    """One quota."""

    limit: int | None = Field(description="null: without limit.")
    used: int


class Quota(Tolerant):
    """What a tenant may use, and uses now."""

    in_flight: QuotaUse = Field(description="Processes released and not ended; more wait.")
    held: QuotaUse = Field(description="Processes accepted and waiting; more are refused (429).")
    executor_cores: QuotaUse = Field(description="Executor cores of processes in flight; more wait.")
    stored_bytes: QuotaUse = Field(description="Bytes of sealed datasets; when used up, processes and uploads are refused (409).")


class Problem(Tolerant):
    """RFC 9457 problem details. `type` is stable; `detail` says what happened and what to do."""

    type: str = Field(examples=["urn:stratum:problem:name-taken"])
    title: str
    status: int
    detail: str
    instance: str | None = None
    errors: list[dict[str, Any]] | None = Field(default=None, description="Each wrong field: `pointer` (JSON Pointer) and `detail`.")
    errors_left_out: int | None = Field(default=None, description="How many more were found; absent: none.")
    suggestions: list[str] | None = Field(default=None, description="Nearest existing names.")
    owner_process_id: UUID | None = Field(default=None, description="Of a conflict: the process that has the name.")


class LogChunk(Tolerant):
    """Driver output of one process; `next_offset` continues where this chunk ends."""

    text: str
    next_offset: int
    complete: bool


class Health(Tolerant):
    """Liveness or readiness; `checks` names each dependency."""

    status: Literal["ok", "unavailable"]
    checks: dict[str, str] = {}
