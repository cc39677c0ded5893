"""The storage layout, contract version 1: where everything lies under a tenant's root.

Written out in `docs/reference/storage-layout.md`.
"""

import re
from dataclasses import dataclass
from uuid import UUID

from contracts.errors import ContractError

MANIFEST_NAME = "_manifest.json"
PROPOSAL_NAME = "_proposal.json"
TOMBSTONE_NAME = "_retired.json"
LOG_END_NAME = "complete"
"""Name of the empty object beside the chunks of a log that says that no more will come."""

BUCKET_PATTERN = r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$"
_FOLDER = r"\.*[A-Za-z0-9!_'()-][A-Za-z0-9!_.'()-]*"
"""No wildcard or variable of a store's policy (`*`, `?`, `$`), which would stand for others' data; and no `.`, `..` or empty name, of which
Hadoop makes another folder."""
PREFIX_PATTERN = f"^({_FOLDER}/)*$"
STORAGE_ROOT_PATTERN = f"^s3://{BUCKET_PATTERN.strip('^$')}(/{_FOLDER})*/?$"
_URI = re.compile(r"s3a?://([^/]+)(?:/(.*))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class StorageRoot:
    """A tenant's bucket and prefix. `prefix` is empty or ends with `/`.

    Raises:
        ContractError: one of them is not what runs, keys and policies can be made for.
    """

    bucket: str
    prefix: str = ""

    def __post_init__(self) -> None:
        if re.fullmatch(BUCKET_PATTERN.strip("^$"), self.bucket) is None:
            raise ContractError(f"the bucket {self.bucket!r} must be 3 to 63 small letters, digits, '.' and '-'")
        if re.fullmatch(PREFIX_PATTERN.strip("^$"), self.prefix) is None:
            raise ContractError(
                f"the storage prefix {self.prefix!r} must be empty, or names that each end with '/', such as 'acme/'; "
                "take letters, digits and !_.-'(), and not dots alone"
            )

    @classmethod
    def parse(cls, uri: str) -> "StorageRoot":
        """From `s3://bucket` or `s3://bucket/prefix`."""
        parts = _URI.fullmatch(uri)
        if parts is None:
            raise ContractError(f"storage root {uri!r} is not of the form s3://bucket/prefix")
        prefix = (parts[2] or "").removesuffix("/")
        return cls(parts[1], f"{prefix}/" if prefix else "")

    @property
    def uri(self) -> str:
        """`s3://bucket` or `s3://bucket/prefix`."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def dataset(self, entity_id: str, data_version: str, dataset: str) -> "DatasetPath":
        """The folder of a dataset."""
        return DatasetPath(self, entity_id, data_version, dataset)

    @property
    def logs_prefix(self) -> str:
        """Key prefix of all logs. No identifier starts with `_`, so logs never meet data."""
        return f"{self.prefix}_logs/"

    def log_prefix(self, process_id: UUID, step: int, attempt: int) -> str:
        """Key prefix of an attempt's log chunks."""
        return f"{self.logs_prefix}{process_id}/{step}/{attempt}/"


@dataclass(frozen=True, slots=True)
class DatasetPath:
    """Keys of one dataset. Keys are full object keys inside the bucket."""

    root: StorageRoot
    entity_id: str
    data_version: str
    dataset: str

    @property
    def prefix(self) -> str:
        """`<prefix><entity_id>/<data_version>/<dataset>/`."""
        return f"{self.root.prefix}{self.entity_id}/{self.data_version}/{self.dataset}/"

    @property
    def manifest_key(self) -> str:
        """The manifest: it exists = the dataset is sealed."""
        return f"{self.prefix}{MANIFEST_NAME}"

    @property
    def tombstone_key(self) -> str:
        """The tombstone: it exists = the dataset is retired. Its manifest stays, its files go."""
        return f"{self.prefix}{TOMBSTONE_NAME}"

    def run_prefix(self, run_id: str) -> str:
        """The folder of one run; nobody else writes there."""
        return f"{self.prefix}{run_id}/"

    def proposal_key(self, run_id: str) -> str:
        """What the run says it made."""
        return f"{self.run_prefix(run_id)}{PROPOSAL_NAME}"

    def uri(self, key: str) -> str:
        """`s3://bucket/key`."""
        return f"s3://{self.root.bucket}/{key}"
