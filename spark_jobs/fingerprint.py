"""The content fingerprint: equal rows give an equal fingerprint, however they are ordered, filed or partitioned.

Written out in `docs/reference/content-fingerprint.md`. Each row is hashed twice, independently, to 64 bits; the hashes are
added up, which no order changes and which, unlike XOR, counts equal rows; the two sums, the row count and the schema make
the fingerprint.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F
from pyspark.sql import types as T

from contracts.model import canonical_json
from spark_jobs.columns import column, type_text

VERSION = "sf1"
_SEEDS = ("stratum/row/a", "stratum/row/b")
_SHIFTS = (42, 21, 0)
_MASK = 2**21 - 1
_NULL, _VALUE = 0, 1


@dataclass(frozen=True, slots=True)
class RowSums:
    """Row count, and the sums of both row hashes over all rows, exact."""

    rows: int
    a: int
    b: int


NO_ROWS = RowSums(0, 0, 0)


def fingerprint(rows: DataFrame) -> str:
    """The content fingerprint of `rows`: reads them all."""
    [sums] = rows.agg(*sum_columns(rows.schema)).collect()
    return format_fingerprint(rows.schema, row_sums(sums))


def format_fingerprint(schema: T.StructType, sums: RowSums) -> str:
    """`sf1:<32 hex>-<rows>`. Nullability is left out: it says what may be, not what is."""
    columns = [[field.name, type_text(field.dataType)] for field in schema.fields]
    document = [VERSION, columns, sums.rows, sums.a % 2**64, sums.b % 2**64]
    return f"{VERSION}:{hashlib.sha256(canonical_json(document)).hexdigest()[:32]}-{sums.rows}"


def sum_columns(schema: T.StructType) -> list[Column]:
    """Aggregates that `row_sums` reads. The thirds of a hash are added apart, so no sum overflows below 2⁴¹ rows."""
    columns = [F.count(F.lit(1)).alias("_rows")]
    for name, seed in zip("ab", _SEEDS, strict=True):
        row_hash = hash_of_row(schema, seed)
        for shift in _SHIFTS:
            third = F.shiftright(row_hash, shift)
            columns.append(F.sum(third if shift == _SHIFTS[0] else third.bitwiseAND(F.lit(_MASK))).alias(f"_{name}{shift}"))
    return columns


def row_sums(row: Row) -> RowSums:
    """From the row of the `sum_columns`."""
    if not row["_rows"]:
        return NO_ROWS
    return RowSums(row["_rows"], *(sum(row[f"_{name}{shift}"] << shift for shift in _SHIFTS) for name in "ab"))


def hash_of_row(schema: T.StructType, seed: str = _SEEDS[0]) -> Column:
    """A 64-bit hash of a whole row, never null."""
    return _chain(seed, [(column(field.name), field.dataType) for field in schema.fields])


def _chain(seed: str, values: Sequence[tuple[Column, T.DataType]]) -> Column:
    """xxhash64 feeds each hash into the next. Spark skips nulls there, so every value goes in behind a mark."""
    words: list[Column] = [F.lit(seed)]
    for value, kind in values:
        words += [F.when(value.isNull(), F.lit(_NULL)).otherwise(F.lit(_VALUE)), _canonical(value, kind, seed)]
    return F.xxhash64(*words)


def _canonical(value: Column, kind: T.DataType, seed: str) -> Column:
    """`value` such that xxhash64 tells all different values apart and no equal ones."""
    match kind:
        case T.FloatType() | T.DoubleType():
            positive_zero = F.when(value == F.lit(0.0), F.lit(0.0).cast(kind)).otherwise(value)
            return F.when(F.isnan(value), F.lit(float("nan")).cast(kind)).otherwise(positive_zero)
        case T.StructType():
            return _chain(seed, [(value[field.name], field.dataType) for field in kind.fields])
        case T.ArrayType():
            return _hashes(F.transform(value, lambda item: _chain(seed, [(item, kind.elementType)])), seed)
        case T.MapType():
            entries = F.transform(
                F.map_entries(value),
                lambda entry: _chain(seed, [(entry["key"], kind.keyType), (entry["value"], kind.valueType)]),
            )
            return _hashes(F.array_sort(entries), seed)
        case T.VariantType():
            return F.to_json(value)
        case T.NullType():
            return F.lit(_NULL)
        case _:
            return value


def _hashes(hashes: Column, seed: str) -> Column:
    """One hash of an array of hashes; the length goes first, so that [] and [[]] differ."""
    return F.xxhash64(F.lit(seed), F.size(hashes), hashes)
