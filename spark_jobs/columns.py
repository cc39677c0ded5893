"""Columns by name, with errors that a person understands, and types as text."""

import difflib
import re
from collections.abc import Iterable, Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_jobs.errors import InvalidParameter, UnknownColumn, WrongType

_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def column(name: str) -> Column:
    """The column called exactly `name`, whatever characters it has."""
    return F.col(f"`{name.replace('`', '``')}`")


def fresh_names(rows: DataFrame, prefix: str, count: int = 1) -> list[str]:
    """`count` names of columns that `rows` has not (case does not matter, as in Spark), each beginning with `prefix`."""
    while any(name.lower().startswith(prefix.lower()) for name in rows.columns):
        prefix += "_"
    return [f"{prefix}{number}" for number in range(count)]


def field_of(rows: DataFrame, name: str) -> T.StructField:
    """The field called exactly `name`.

    Raises:
        UnknownColumn: there is none; the message has the nearest names.
    """
    for field in rows.schema.fields:
        if field.name == name:
            return field
    names = rows.columns
    folded = {each.lower(): each for each in names}
    nearest = [folded[each] for each in difflib.get_close_matches(name.lower(), folded, n=3, cutoff=0.5)]
    hint = f"did you mean {' or '.join(f'`{each}`' for each in nearest)}? " if nearest else ""
    shown = ", ".join(f"`{each}`" for each in names[:30]) + (", …" if len(names) > 30 else "")
    raise UnknownColumn(f"there is no column `{name}`; {hint}The input has {shown}.")


def fields_of(rows: DataFrame, names: Iterable[str]) -> list[T.StructField]:
    """The fields called `names`, in that order. Raises as `field_of`."""
    return [field_of(rows, name) for name in names]


def require_numeric(field: T.StructField, what: str) -> None:
    """Raise `WrongType` unless `field` holds numbers; `what` says who needs them."""
    if not isinstance(field.dataType, T.NumericType):
        raise WrongType(f"{what} needs numbers; the column `{field.name}` is {field.dataType.simpleString()}")


def require_distinct(names: Sequence[str], what: str) -> None:
    """Raise `InvalidParameter` when a name is there twice (case does not matter, as in Spark)."""
    seen: set[str] = set()
    for name in names:
        if name.lower() in seen:
            raise InvalidParameter(f"{what} has the name `{name}` twice: give each a name of its own")
        seen.add(name.lower())


def type_text(kind: T.DataType) -> str:
    """A type as `DataType.fromDDL` reads it back: as Spark shows it, with names of fields quoted where they need it."""
    match kind:
        case T.StructType():
            return f"struct<{','.join(f'{_field_name(f.name)}:{type_text(f.dataType)}' for f in kind.fields)}>"
        case T.ArrayType():
            return f"array<{type_text(kind.elementType)}>"
        case T.MapType():
            return f"map<{type_text(kind.keyType)},{type_text(kind.valueType)}>"
        case _:
            return str(kind.simpleString())


def _field_name(name: str) -> str:
    return name if _PLAIN_NAME.fullmatch(name) else f"`{name.replace('`', '``')}`"
