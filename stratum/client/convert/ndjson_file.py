"""NDJSON: one JSON object a line. JSON's own types hold; only dates and timestamps, which it lacks, are read from text."""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import pyarrow as pa

from stratum.client.convert.guess import FileGuess, TextGuess, TypeGuess
from stratum.client.convert.names import check_column_names
from stratum.client.convert.reading import Advance, opened
from stratum.client.convert.scalars import DATE, DOUBLE, INT64, STRING, TIMESTAMP, Scalar, first_refused, name_of
from stratum.errors import BrokenFile

BATCH_ROWS = 16_384
_TYPES_IN_TEXT = frozenset({DATE, TIMESTAMP, STRING})
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
"""JSON can write what no text in UTF-8 can hold: one half of a pair without the other."""
_INT64_RANGE = range(-(2**63), 2**63)


class Row(NamedTuple):
    """One object as it lies in the file."""

    line: int
    text: str
    values: dict[str, Any]


@dataclass(frozen=True)
class NdjsonFile:
    """A file of JSON objects, one a line, perhaps gzipped. A key that an object lacks is null there."""

    path: Path
    nulls: Sequence[str] = ()

    def guess(self, declared: Mapping[str, Scalar], advance: Advance) -> FileGuess:
        """The columns, in the order they first appear, and the types that hold every value.

        Raises:
            BrokenFile: no rows, a line that is not an object, or values of types that do not go together in one column.
        """
        guesses: dict[str, TextGuess | TypeGuess] = {}
        for rows in self._batches(advance, unique_keys=True):
            for name in dict.fromkeys(name for row in rows for name in row.values):
                if name in declared:
                    guesses[name] = TypeGuess(declared[name].arrow)
                else:
                    guesses[name] = self._observe(name, guesses.get(name, TypeGuess(pa.null())), rows)
        if not guesses:
            raise BrokenFile(self.path, "is empty: it has no rows, or rows without keys.")
        check_column_names(self.path, list(guesses))
        return FileGuess(self.path, guesses)

    def read(self, schema: pa.Schema, declared: Mapping[str, Scalar], advance: Advance) -> Iterator[pa.RecordBatch]:
        """The rows in the types of `schema`.

        Raises:
            BrokenFile: a value is not of its column's type.
        """
        for rows in self._batches(advance, unique_keys=False):
            yield pa.record_batch([self._column(rows, field) for field in schema], schema=schema)

    def _observe(self, name: str, before: TextGuess | TypeGuess, rows: list[Row]) -> TextGuess | TypeGuess:
        try:
            return _narrowed(before, self._values(rows, name))
        except pa.ArrowException:
            for row in rows:
                try:
                    before = _narrowed(before, self._values([row], name))
                except pa.ArrowException as error:
                    raise BrokenFile(
                        self.path, f"{name}: {error}", row.line, row.text, hint="One column holds values of one type."
                    ) from error
            raise

    def _column(self, rows: list[Row], field: pa.Field) -> pa.Array:
        values = self._values(rows, field.name)
        try:
            return _to_arrow(values, field.type)
        except pa.ArrowInvalid as error:
            row = rows[first_refused(values, lambda part: _to_arrow(part, field.type))]
            value = json.dumps(row.values.get(field.name), default=float)
            raise BrokenFile(
                self.path,
                f"{field.name} = {value} is not of the type {name_of(field.type)}.",
                row.line,
                row.text,
                hint="Mend the line, or declare another type with --schema.",
            ) from error

    def _values(self, rows: list[Row], name: str) -> list[Any]:
        values = [row.values.get(name) for row in rows]
        return [None if isinstance(value, str) and value in self.nulls else value for value in values] if self.nulls else values

    def _batches(self, advance: Advance, *, unique_keys: bool) -> Iterator[list[Row]]:
        rows: list[Row] = []
        with opened(self.path) as file:
            for number, line in enumerate(file.unpacked, start=1):
                if not line.isspace():
                    rows.append(self._parse(number, line, unique_keys))
                if len(rows) == BATCH_ROWS:
                    advance(file.packed.tell())
                    yield rows
                    rows = []
        if rows:
            yield rows

    def _parse(self, number: int, line: bytes, unique_keys: bool) -> Row:
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            values = (_CHECKING if unique_keys else _QUICK).decode(text)
            if _SURROGATE.search(text):
                json.dumps(values, ensure_ascii=False, default=float).encode()
        except UnicodeEncodeError as error:
            problem = f"has half of a surrogate pair ({error.object[error.start]!r}), which is no character."
            raise BrokenFile(self.path, problem, number, text) from error
        except UnicodeDecodeError as error:
            raise BrokenFile(self.path, "is not UTF-8 text.", number, line.decode("utf-8", "backslashreplace")) from error
        except json.JSONDecodeError as error:
            raise BrokenFile(self.path, f"not valid JSON: {error.msg} at column {error.colno}.", number, text) from error
        except InvalidOperation as error:
            raise BrokenFile(self.path, "has a number too large for any type.", number, text) from error
        except (ValueError, RecursionError) as error:
            raise BrokenFile(self.path, f"not valid JSON: {error}.", number, text) from error
        if not isinstance(values, dict):
            raise BrokenFile(self.path, "not a JSON object; each line needs to be one.", number, text)
        return Row(number, text, values)


def _narrowed(before: TextGuess | TypeGuess, values: list[Any]) -> TextGuess | TypeGuess:
    """What is known of a column after `values` too. Raises `pa.ArrowInvalid` or `pa.ArrowTypeError` if they do not go together."""
    present = [value for value in values if value is not None]
    if not present:
        return before
    if all(isinstance(value, str) for value in present) and (isinstance(before, TextGuess) or pa.types.is_null(before.arrow)):
        guess = TextGuess(before.candidates, before.seen) if isinstance(before, TextGuess) else TextGuess(_TYPES_IN_TEXT)
        guess.observe(pa.array(present, pa.string()))
        return guess
    found = _stated_type(present)
    if isinstance(before, TextGuess) or (joined := TypeGuess(before.arrow).joined(TypeGuess(found))) is None:
        raise pa.ArrowInvalid(f"{name_of(found)} here, {name_of(before.arrow)} in the lines before")
    return joined


def _stated_type(present: list[Any]) -> pa.DataType:
    """The narrowest type of values without nulls. Raises `pa.ArrowInvalid` if there is none."""
    types = {type(value) for value in present}
    if types == {int}:
        if any(value not in _INT64_RANGE for value in present):
            raise pa.ArrowInvalid("an integer that needs more than 64 bits; declare it as decimal(38,0)")
        return INT64.arrow
    if types <= {int, Decimal}:
        return DOUBLE.arrow if types else pa.null()
    if len(types) > 1:
        raise pa.ArrowInvalid(f"values of several types: {', '.join(sorted({_JSON_NAMES[type_] for type_ in types}))}")
    if types == {list}:
        return pa.list_(_stated_type([item for value in present for item in value if item is not None]))
    if types == {dict}:
        keys = dict.fromkeys(key for value in present for key in value)
        return pa.struct([(key, _stated_type([v[key] for v in present if v.get(key) is not None])) for key in keys])
    return pa.bool_() if types == {bool} else pa.string()


_JSON_NAMES = {int: "number", Decimal: "number", str: "text", bool: "true or false", dict: "object", list: "array"}


def _to_arrow(values: Sequence[Any], type_: pa.DataType) -> pa.Array:
    """Raises `pa.ArrowInvalid` if a value is not of `type_`; nothing is turned into text, and nothing rounded."""
    if type_ in (DATE.arrow, TIMESTAMP.arrow):
        scalar = DATE if type_ == DATE.arrow else TIMESTAMP
        return scalar.read(_built(values, pa.string()))
    if pa.types.is_decimal(type_):
        return _built([Decimal(value) if type(value) is int else value for value in values], type_)
    if pa.types.is_integer(type_) and not all(value is None or type(value) is int for value in values):
        raise pa.ArrowInvalid("not an integer")  # Arrow would cut off decimals, and take true for 1
    if not pa.types.is_integer(type_) and type_ not in (pa.bool_(), pa.string()):
        values = _plain(values)
    return _built(values, type_)


def _built(values: Sequence[Any], type_: pa.DataType) -> pa.Array:
    try:
        return pa.array(values, type_)
    except (pa.ArrowTypeError, OverflowError) as error:
        raise pa.ArrowInvalid(str(error)) from error


def _plain(value: Any) -> Any:
    """Decimals, which stand for every JSON number with a point, as floats. Raises `pa.ArrowInvalid` if one is too large."""
    match value:
        case Decimal():
            if math.isinf(number := float(value)):
                raise pa.ArrowInvalid("number too large for a double")
            return number
        case list():
            return [_plain(item) for item in value]
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case _:
            return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a key is there twice in one object")
    return values


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON; write null")


_QUICK = json.JSONDecoder(parse_float=Decimal, parse_constant=_refuse_constant)  # Decimal keeps every digit
_CHECKING = json.JSONDecoder(parse_float=Decimal, parse_constant=_refuse_constant, object_pairs_hook=_unique)
