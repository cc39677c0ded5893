"""`_manifest.json`: it exists = the dataset is sealed. Put once, create-only, by the control plane alone."""

import builtins
from typing import Annotated, Any

from pydantic import Field

from contracts.command import InputDataset, Sha256
from contracts.identifiers import Identifier, ProcessId, Tenant
from contracts.model import ContractVersion, Ordinal, Text, Timestamp, canonical_json, sha256_of
from contracts.proposal import Column, DatasetContent


class Manifest(DatasetContent):
    """Everything needed to read the dataset, to know where it came from, and to make it again."""

    contract_version: ContractVersion = 1
    tenant: Tenant
    entity_id: Identifier
    data_version: Identifier
    dataset: Identifier
    process_id: ProcessId | None = Field(description="Null when the dataset was uploaded.")
    step: Annotated[int, Field(strict=True, ge=0, le=1000)] | None
    attempt: Ordinal | None
    run_id: Identifier = Field(description="The run, or the upload, whose folder holds the files.")
    location: Text = Field(description="Folder of the Parquet files, `s3://bucket/…/`.")
    action: Identifier | None
    action_revision: Sha256 | None
    parameters: dict[str, Any]
    inputs: Annotated[tuple[InputDataset, ...], Field(fail_fast=True)]
    image: Text | None
    code_version: Text | None
    spark_version: Text | None
    created_at: Timestamp

    def to_bytes(self) -> builtins.bytes:
        """The bytes that are put: canonical JSON, so that their hash names this manifest."""
        return canonical_json(self.model_dump(mode="json"))


def schema_fingerprint(columns: tuple[Column, ...]) -> str:
    """`sha256:<hex>` over names, types and nullability, in order."""
    return sha256_of([[column.name, column.type, column.nullable] for column in columns])
