"""`_proposal.json`: what a run says it made. The control plane compares it with what lies there before it seals."""

import sys
from typing import Annotated, Any

from pydantic import Field, field_validator

from contracts.command import AttemptRef, DatasetName, Sha256
from contracts.identifiers import Identifier
from contracts.model import FIRST_WRONG_ENDS_IT, Contract, ContractVersion, Count, StorableObject, Text, at_most

MOST_DATASET_FILES = 100_000
_MOST_COLUMNS = 100_000

_LONGEST_BOUND = 256
_LARGEST_NUMBER = sys.float_info.max
# JSON has no form for an infinite number, but many readers make one of 1e999
_Finite = Annotated[float, Field(ge=-_LARGEST_NUMBER, le=_LARGEST_NUMBER, allow_inf_nan=False)]


class DataFile(Contract):
    """One Parquet file. `key` is the full object key in the bucket."""

    key: Annotated[Text, Field(max_length=1024)]
    size: Annotated[Count, Field(description="Bytes.")]
    rows: Count
    etag: Text = Field(description="As the store gave it, without quotes.")


class Column(Contract):
    """A column. `type` is a Spark SQL type as in DDL: `bigint`, `decimal(18,2)`, `struct<a:int,b:array<string>>`."""

    name: Annotated[Text, Field(min_length=1, max_length=1024)]
    type: Text
    nullable: Annotated[bool, Field(strict=True)] = True


class ColumnStatistics(Contract):
    """Over all rows. Dates, timestamps and decimals are given as text; null where there are none, the type has no order, the bound is
    infinite or no number, or the text is too long or has NUL characters."""

    min: str | int | _Finite | bool | None = None
    max: str | int | _Finite | bool | None = None
    nulls: Count

    @field_validator("min", "max", mode="before")
    @classmethod
    def _leave_out_unfit_text(cls, value: Any) -> Any:
        return None if isinstance(value, str) and (len(value) > _LONGEST_BOUND or "\x00" in value) else value


class DatasetContent(Contract):
    """Everything about the rows of a dataset; shared by proposal and manifest."""

    files: Annotated[tuple[DataFile, ...], Field(max_length=MOST_DATASET_FILES, fail_fast=True), at_most(MOST_DATASET_FILES)]
    rows: Count
    bytes: Count
    columns: Annotated[tuple[Column, ...], Field(min_length=1, max_length=_MOST_COLUMNS, fail_fast=True), at_most(_MOST_COLUMNS)]
    schema_fingerprint: Sha256
    column_statistics: Annotated[
        dict[Text, ColumnStatistics], Field(max_length=_MOST_COLUMNS), at_most(_MOST_COLUMNS), FIRST_WRONG_ENDS_IT
    ] = {}
    partition_columns: Annotated[tuple[Text, ...], Field(fail_fast=True)] = ()
    content_fingerprint: Text | None = Field(
        default=None, description="Independent of row order, files and partitions; null for uploads, whose rows nobody has read."
    )
    quality: StorableObject = Field(default={}, description="Results of checks, such as the number of refused rows.")


class ProposedDataset(DatasetContent):
    """A dataset to be sealed. All its files lie in its own run folder."""

    output: DatasetName


class RunMetrics(Contract):
    """What a run read and wrote."""

    rows_in: Count
    rows_out: Count
    bytes_in: Count
    bytes_out: Count
    seconds: Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False, description="Wall time of the run, from grant to proposal.")]


class Proposal(Contract):
    """Lies in the run folder of the first dataset; names every dataset that the run made (the result, perhaps its refused rows)."""

    contract_version: ContractVersion = 1
    made_by: AttemptRef
    run_id: Identifier
    entity_id: Identifier
    datasets: Annotated[tuple[ProposedDataset, ...], Field(min_length=1, fail_fast=True)]
    metrics: RunMetrics
    code_version: Text
    spark_version: Text
