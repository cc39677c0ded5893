"""Smallest and largest values of columns, joined over all files of a dataset as values, and only then put as JSON has them."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Self

import pyarrow as pa

from contracts.proposal import ColumnStatistics


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of one column in a part of the rows. None: there is no value; `known` is false if there may be values that nobody can name."""

    low: Any
    high: Any
    nulls: int
    known: bool = True

    @classmethod
    def joined(cls, parts: "Iterable[Bounds]") -> Self:
        """Those of all parts together."""
        parts = list(parts)
        return cls(
            low=min((part.low for part in parts if part.low is not None), default=None),
            high=max((part.high for part in parts if part.high is not None), default=None),
            nulls=sum(part.nulls for part in parts),
            known=all(part.known for part in parts),
        )

    def shown(self) -> ColumnStatistics:
        """As the manifest has them."""
        low, high = (self.low, self.high) if self.known else (None, None)
        return ColumnStatistics(min=_in_json(low), max=_in_json(high), nulls=self.nulls)


def column_bounds(metadata: Any) -> dict[str, Bounds]:
    """Of the flat columns of one file whose every row group has statistics."""
    result: dict[str, Bounds] = {}
    for j in range(metadata.num_columns):
        column = metadata.schema.column(j)
        chunks = [metadata.row_group(i).column(j).statistics for i in range(metadata.num_row_groups)]
        if "." in column.path or any(chunk is None or chunk.null_count is None for chunk in chunks):
            continue
        result[column.name] = Bounds.joined(_bounds(chunk) for chunk in chunks)
    return result


def statistics(files: list[dict[str, Bounds]]) -> dict[str, ColumnStatistics]:
    """Of the columns that have bounds in every file."""
    shared = set(files[0]).intersection(*files[1:])
    return {name: Bounds.joined(file[name] for file in files).shown() for name in files[0] if name in shared}


def _bounds(chunk: Any) -> Bounds:
    if not chunk.has_min_max:
        return Bounds(None, None, chunk.null_count, known=chunk.num_values == 0)
    try:
        low, high = chunk.min, chunk.max
    except (OverflowError, ValueError, pa.ArrowException):
        # a date beyond the years that Python has, or text that is not UTF-8: Spark reads such columns all the same
        return Bounds(None, None, chunk.null_count, known=False)
    known = low == low and high == high  # NaN is not: it has no place in an order
    return Bounds(low, high, chunk.null_count) if known else Bounds(None, None, chunk.null_count, known=False)


def _in_json(value: Any) -> str | int | float | bool | None:
    """None for what JSON lacks."""
    match value:
        case None | bytes():
            return None
        case bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case Decimal():
            return format(value, "f")  # not as 1E+2
        case _:
            return str(value)
