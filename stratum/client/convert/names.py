"""Names of columns, and of the fields inside them."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from stratum.errors import BrokenFile

LONGEST_NAME = 1024
"""Of a column or field: what the platform takes."""


def check_column_names(path: Path, names: Sequence[str], line: int | None = None) -> None:
    """Refuse names that no query could use: empty, with blanks around or control characters inside, too long, or the same but for case.

    Raises:
        BrokenFile: naming the column.
    """
    for number, name in enumerate(names, start=1):
        if not name:
            raise BrokenFile(path, f"column {number} of {len(names)} has no name.", line)
        if name != name.strip() or not name.isprintable():
            raise BrokenFile(path, f"the column name {_shown(name)} has blanks around it, or characters that cannot be printed.", line)
        if len(name) > LONGEST_NAME:
            raise BrokenFile(path, f"the column name {_shown(name)} is longer than {LONGEST_NAME} characters.", line)
    if same := _same_but_for_case(names):
        raise BrokenFile(path, f"several columns have one name (upper and lower case are the same in SQL): {same}.", line)


def check_field_names(path: Path, column: str, type_: pa.DataType) -> None:
    """Refuse such names inside of the column `column`, however deep: Spark could not read the column.

    Raises:
        BrokenFile: naming the field.
    """
    if pa.types.is_dictionary(type_):
        check_field_names(path, column, type_.value_type)
        return
    fields = [type_.field(i) for i in range(type_.num_fields)]
    if pa.types.is_struct(type_):
        _check_names_of_one_object(path, column, [field.name for field in fields])
    for field in fields:
        check_field_names(path, column, field.type)


def _check_names_of_one_object(path: Path, column: str, names: Sequence[str]) -> None:
    for name in names:
        if not name:
            raise BrokenFile(path, f"a field of the column {column!r} has no name.")
        if not name.isprintable():
            raise BrokenFile(path, f"the field name {_shown(name)} of the column {column!r} has characters that cannot be printed.")
        if len(name) > LONGEST_NAME:
            raise BrokenFile(path, f"the field name {_shown(name)} of the column {column!r} is longer than {LONGEST_NAME} characters.")
    if same := _same_but_for_case(names):
        raise BrokenFile(path, f"several fields of the column {column!r} have one name (upper and lower case are the same in SQL): {same}.")


def _same_but_for_case(names: Sequence[str]) -> str:
    """The first names that differ in case at most, for a person; empty if there are none."""
    count = Counter(map(str.lower, names))
    twice = next((folded for folded, times in count.items() if times > 1), None)
    return ", ".join(_shown(name) for name in names if name.lower() == twice)


def _shown(name: str) -> str:
    return repr(name) if len(name) <= 100 else f"{name[:50]!r}…"
