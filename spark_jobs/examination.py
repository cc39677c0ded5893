"""What reading written files back tells: rows of each file, column statistics, content fingerprint."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F
from pyspark.sql import types as T

from contracts.proposal import ColumnStatistics
from spark_jobs.columns import column
from spark_jobs.fingerprint import format_fingerprint, row_sums, sum_columns

_LONGEST_TEXT = 256
"""Longer minima and maxima are left out: a manifest is not for data."""


@dataclass(frozen=True, slots=True)
class Examination:
    """The findings. Files without rows are not in `rows_by_file`."""

    rows_by_file: dict[str, int]
    statistics: dict[str, ColumnStatistics]
    content_fingerprint: str


def examine(rows: DataFrame) -> Examination:
    """Read `rows`, which come from files: their footers once, their data once."""
    schema = rows.schema
    by_file = rows.groupBy(F.col("_metadata.file_name").alias("file")).count().collect()
    [found] = rows.agg(*sum_columns(schema), *_bounds(schema)).collect()
    return Examination(
        rows_by_file={row["file"]: row["count"] for row in by_file},
        statistics={field.name: _statistics(found, number) for number, field in enumerate(schema.fields)},
        content_fingerprint=format_fingerprint(schema, row_sums(found)),
    )


def _bounds(schema: T.StructType) -> list[Column]:
    columns = []
    for number, field in enumerate(schema.fields):
        value = column(field.name)
        columns.append(F.count_if(value.isNull()).alias(f"_nulls_{number}"))
        for bound in (F.min, F.max):
            columns.append(_presentable(bound, value, field.dataType).alias(f"_{bound.__name__}_{number}"))
    return columns


def _presentable(bound: Callable[[Column], Column], value: Column, kind: T.DataType) -> Column:
    """Aggregate: the bound of a column, times as ISO text; null for types without order, or without a form in JSON."""
    match kind:
        case T.TimestampType():
            return F.concat(F.replace(bound(value).cast("string"), F.lit(" "), F.lit("T")), F.lit("Z"))  # session in UTC
        case T.TimestampNTZType():
            return F.replace(bound(value).cast("string"), F.lit(" "), F.lit("T"))
        case T.DateType():
            return bound(value).cast("string")
        case T.NumericType() | T.BooleanType() | T.StringType():
            return bound(value)
        case _:
            return F.lit(None).cast("string")


def _statistics(found: Row, number: int) -> ColumnStatistics:
    return ColumnStatistics(min=_in_json(found[f"_min_{number}"]), max=_in_json(found[f"_max_{number}"]), nulls=found[f"_nulls_{number}"])


def _in_json(value: Any) -> str | int | float | bool | None:
    """A bound as JSON has it; None for what JSON lacks, and for long text."""
    match value:
        case Decimal():
            return format(value, "f")
        case float():
            return value if math.isfinite(value) else None
        case str():
            return value if len(value) <= _LONGEST_TEXT else None
        case bool() | int() | None:
            return value
    raise TypeError(f"a bound of the type {type(value).__name__}")
