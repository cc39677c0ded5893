"""What the footers of Parquet files say: rows, schema and column statistics. No data page is read."""

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from contracts.manifest import schema_fingerprint
from contracts.proposal import Column, ColumnStatistics, DataFile, DatasetContent
from control_plane.errors import UploadRefused
from control_plane.storage import ObjectInfo

_FIRST_READ = 64 * 1024
_MOST_FOOTER = 64 * 1024 * 1024

Tail = Callable[[str, int], bytes]
"""Reads the last n bytes of an object, by key."""

_SIMPLE: tuple[tuple[Callable[[pa.DataType], bool], str], ...] = (
    (pa.types.is_boolean, "boolean"),
    (pa.types.is_int8, "tinyint"),
    (pa.types.is_int16, "smallint"),
    (pa.types.is_uint8, "smallint"),
    (pa.types.is_int32, "int"),
    (pa.types.is_uint16, "int"),
    (pa.types.is_int64, "bigint"),
    (pa.types.is_uint32, "bigint"),
    (pa.types.is_uint64, "decimal(20,0)"),
    (pa.types.is_float32, "float"),
    (pa.types.is_float64, "double"),
    (pa.types.is_string, "string"),
    (pa.types.is_large_string, "string"),
    (pa.types.is_string_view, "string"),
    (pa.types.is_binary, "binary"),
    (pa.types.is_large_binary, "binary"),
    (pa.types.is_binary_view, "binary"),
    (pa.types.is_date32, "date"),
)


@dataclass(frozen=True, slots=True)
class _Bounds:
    """Of a column in one file, as the footer has them; None where there are none."""

    low: Any
    high: Any
    nulls: int


def content(objects: list[ObjectInfo], tail: Tail) -> DatasetContent:
    """Rows, schema and statistics of the files; raises `UploadRefused` naming the file that is not Parquet or does not fit the others."""
    files: list[DataFile] = []
    bounds: list[dict[str, _Bounds]] = []
    columns: tuple[Column, ...] | None = None
    for item in objects:
        name = item.key.rsplit("/", 1)[-1]
        metadata = _metadata(item, name, tail)
        found = columns_of(metadata.schema.to_arrow_schema(), name)
        if columns is None:
            columns = found
        elif found != columns:
            raise UploadRefused(
                f"{name} has another schema than the other files: {_difference(columns, found)}. All files of a dataset agree."
            )
        files.append(DataFile(key=item.key, size=item.size, rows=metadata.num_rows, etag=item.etag))
        bounds.append(_bounds(metadata))
    if not columns:
        raise UploadRefused("The files have no columns.")
    rows = sum(file.rows for file in files)
    if rows == 0:
        raise UploadRefused("The files have no rows; an empty dataset is refused.")
    return DatasetContent(
        files=tuple(files),
        rows=rows,
        bytes=sum(file.size for file in files),
        columns=columns,
        schema_fingerprint=schema_fingerprint(columns),
        column_statistics=_merged(bounds),
    )


def columns_of(schema: pa.Schema, name: str) -> tuple[Column, ...]:
    """The columns in Spark's types; raises `UploadRefused` for types that Spark cannot read."""
    if any(not field.name or not field.name.isprintable() for field in schema):
        raise UploadRefused(f"{name}: a column has no name, or one with characters that cannot be printed. Rename it.")
    names = [field.name.lower() for field in schema]
    twice = next((field.name for field in schema if names.count(field.name.lower()) > 1), None)
    if twice is not None:
        raise UploadRefused(f"{name}: column {twice!r} is there twice (names are compared without case).")
    return tuple(Column(name=field.name, type=_spark_type(field.type, f"{name}: column {field.name!r}"), nullable=True) for field in schema)


def _spark_type(kind: pa.DataType, where: str) -> str:
    for matches, spark in _SIMPLE:
        if matches(kind):
            return spark
    if pa.types.is_decimal128(kind):
        return f"decimal({kind.precision},{kind.scale})"
    if pa.types.is_timestamp(kind) and kind.unit != "ns":
        return "timestamp" if kind.tz else "timestamp_ntz"
    if pa.types.is_dictionary(kind):
        return _spark_type(kind.value_type, where)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f"array<{_spark_type(kind.value_type, where)}>"
    if pa.types.is_map(kind):
        return f"map<{_spark_type(kind.key_type, where)},{_spark_type(kind.item_type, where)}>"
    if pa.types.is_struct(kind):
        inner = ",".join(f"`{field.name}`:{_spark_type(field.type, where)}" for field in kind)
        return f"struct<{inner}>"
    hint = "; write timestamps in microseconds" if pa.types.is_timestamp(kind) else ""
    raise UploadRefused(f"{where} has the type {kind}, which Spark does not read{hint}.")


def _metadata(item: ObjectInfo, name: str, tail: Tail) -> Any:
    last = tail(item.key, min(item.size, _FIRST_READ))
    if len(last) < 12 or last[-4:] != b"PAR1":
        raise UploadRefused(f"{name} is not a complete Parquet file: it does not end with a Parquet footer.")
    footer = int.from_bytes(last[-8:-4], "little") + 8
    if footer > min(item.size - 4, _MOST_FOOTER):
        raise UploadRefused(f"{name} is corrupt: its footer claims {footer} bytes of a file of {item.size}.")
    if footer > len(last):
        last = tail(item.key, footer)
    try:
        metadata = pq.read_metadata(io.BytesIO(last))
        end = max(
            (_end(metadata.row_group(i).column(j)) for i in range(metadata.num_row_groups) for j in range(metadata.num_columns)), default=4
        )
    except (pa.ArrowException, OSError) as error:
        raise UploadRefused(f"{name} is corrupt: {error}") from error
    if end > item.size - footer:
        raise UploadRefused(f"{name} is corrupt: its footer names data beyond the end of the file.")
    return metadata


def _end(chunk: Any) -> int:
    begin = chunk.data_page_offset if chunk.dictionary_page_offset is None else min(chunk.dictionary_page_offset, chunk.data_page_offset)
    return int(begin + chunk.total_compressed_size)


def _bounds(metadata: Any) -> dict[str, _Bounds]:
    """Of the flat columns whose every row group has statistics."""
    result: dict[str, _Bounds] = {}
    for j in range(metadata.num_columns):
        column = metadata.schema.column(j)
        chunks = [metadata.row_group(i).column(j).statistics for i in range(metadata.num_row_groups)]
        if "." in column.path or any(chunk is None or chunk.null_count is None for chunk in chunks):
            continue
        with_range = [chunk for chunk in chunks if chunk.has_min_max]
        lows, highs = [chunk.min for chunk in with_range], [chunk.max for chunk in with_range]
        result[column.name] = _Bounds(min(lows, default=None), max(highs, default=None), sum(chunk.null_count for chunk in chunks))
    return result


def _merged(parts: list[dict[str, _Bounds]]) -> dict[str, ColumnStatistics]:
    shared = set(parts[0]).intersection(*parts[1:])
    return {name: _joined([part[name] for part in parts]) for name in parts[0] if name in shared}


def _joined(parts: list[_Bounds]) -> ColumnStatistics:
    """Of all files. Made fit for JSON only now: a bound that has no form there bounds the other files all the same."""
    lows = [part.low for part in parts if part.low is not None]
    highs = [part.high for part in parts if part.high is not None]
    return ColumnStatistics(
        min=_plain(min(lows, default=None)), max=_plain(max(highs, default=None)), nulls=sum(part.nulls for part in parts)
    )


def _plain(value: Any) -> str | int | float | bool | None:
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return None if isinstance(value, bytes) else str(value)


def _difference(expected: tuple[Column, ...], found: tuple[Column, ...]) -> str:
    left, right = {c.name: c.type for c in expected}, {c.name: c.type for c in found}
    for name in left.keys() | right.keys():
        if left.get(name) != right.get(name):
            return f"column {name!r} is {right.get(name, 'missing')} instead of {left.get(name, 'missing')}"
    return "the columns stand in another order"
