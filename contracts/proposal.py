"""`_proposal.json`: what a run says it made. The control plane compares it with what lies there before it seals."""

from typing import Annotated, Any

from pydantic import Field

from contracts.command import AttemptRef, DatasetName, Sha256
from contracts.identifiers import Identifier
from contracts.model import Contract, ContractVersion, Count


class DataFile(Contract):
    """One Parquet file. `key` is the full object key in the bucket."""

    key: Annotated[str, Field(max_length=1024)]
    size: Annotated[Count, Field(description="Bytes.")]
    rows: Count
    etag: str = Field(description="As the store gave it, without quotes.")


class Column(Contract):
    """A column. `type` is a Spark SQL type as in DDL: `bigint`, `decimal(18,2)`, `struct<a:int,b:array<string>>`."""

    name: str
    type: str
    nullable: Annotated[bool, Field(strict=True)] = True


class ColumnStatistics(Contract):
    """Over all rows. Dates, timestamps and decimals are given as text; null where there are none, or the type has no order."""

    min: str | int | float | bool | None = None
    max: str | int | float | bool | None = None
    nulls: Count


class DatasetContent(Contract):
    """Everything about the rows of a dataset; shared by proposal and manifest."""

    files: tuple[DataFile, ...]
    rows: Count
    bytes: Count
    columns: Annotated[tuple[Column, ...], Field(min_length=1)]
    schema_fingerprint: Sha256
    column_statistics: dict[str, ColumnStatistics] = {}
    partition_columns: tuple[str, ...] = ()
    content_fingerprint: str | None = Field(
        default=None, description="Independent of row order, files and partitions; null for uploads, whose rows nobody has read."
    )
    quality: dict[str, Any] = Field(default={}, description="Results of checks, such as the number of refused rows.")


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
    datasets: Annotated[tuple[ProposedDataset, ...], Field(min_length=1)]
    metrics: RunMetrics
    code_version: str
    spark_version: str
