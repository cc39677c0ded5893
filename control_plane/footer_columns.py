"""The columns of a Parquet file as Spark names them. Names and types that no run could read are refused here, before the seal."""

import re
from collections import Counter
from collections.abc import Callable, Sequence

import pyarrow as pa

from contracts.proposal import Column
from control_plane.errors import UploadRefused

_LONGEST_NAME = 1024
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

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


def columns_of(schema: pa.Schema, name: str) -> tuple[Column, ...]:
    """The columns in Spark's types; raises `UploadRefused` for names and types that Spark cannot read."""
    _check_names(schema.names, f"{name}: a column", "column")
    return tuple(Column(name=field.name, type=_spark_type(field.type, f"{name}: column {field.name!r}"), nullable=True) for field in schema)


def _check_names(names: Sequence[str], what: str, kind: str) -> None:
    if any(not name or not name.isprintable() for name in names):
        raise UploadRefused(f"{what} has no name, or one with characters that cannot be printed. Rename it.")
    if too_long := next((name for name in names if len(name) > _LONGEST_NAME), None):
        raise UploadRefused(f"{what} has a name of {len(too_long)} characters, {_LONGEST_NAME} are allowed: {too_long[:50]!r}… Rename it.")
    count = Counter(name.lower() for name in names)
    if twice := next((name for name in names if count[name.lower()] > 1), None):
        where = what.rpartition(":")[0]
        raise UploadRefused(f"{where}: {kind} {twice!r} is there twice (names are compared without case).")


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
        return _struct_type(kind, where)
    hint = "; write timestamps in microseconds" if pa.types.is_timestamp(kind) else ""
    raise UploadRefused(f"{where} has the type {kind}, which Spark does not read{hint}.")


def _struct_type(kind: pa.StructType, where: str) -> str:
    _check_names([field.name for field in kind], f"{where}: a field", "field")
    return f"struct<{','.join(f'{_quoted(field.name)}:{_spark_type(field.type, where)}' for field in kind)}>"


def _quoted(name: str) -> str:
    """As DDL reads it back, and as runs write it."""
    return name if _PLAIN_NAME.fullmatch(name) else f"`{name.replace('`', '``')}`"
