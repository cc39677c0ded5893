"""The types that a column of text can have: what makes it one, and how its text is read."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from stratum.errors import Invalid

_DATE = r"\d{4}-\d\d-\d\d"
_TIME = r"\d\d:\d\d(:\d\d(\.\d{1,6})?)?"
_ZONE = r"(Z|[+-]\d\d(:?\d\d)?)"
_TIMESTAMP = rf"{_DATE}([T ]{_TIME}{_ZONE}?)?"
_NOT_FINITE = r"NaN|nan|[+-]?(inf|Inf|Infinity)"
UTC_MICROSECONDS = pa.timestamp("us", tz="UTC")
_YEARS = {
    pa.date32(): (pa.scalar(date.min), pa.scalar(date.max)),
    UTC_MICROSECONDS: tuple(pa.scalar(end.replace(tzinfo=UTC), UTC_MICROSECONDS) for end in (datetime.min, datetime.max)),
}
"""The years 1 to 9999, in UTC: SQL and Python have no others, though Arrow has."""


@dataclass(frozen=True)
class Scalar:
    """A type. `written` is what a column declared so may hold; `inferred` what makes an undeclared column one.

    `inferred` is the narrower: it leaves out every text that would not come back as it was, such as `007`.
    """

    name: str
    arrow: pa.DataType
    written: str
    inferred: str | None = None

    def read(self, text: pa.Array) -> pa.Array:
        """Parse `text` (strings; nulls stay nulls; empty is null for all but strings).

        Raises:
            pa.ArrowInvalid: a value is not of this type; `first_refused` finds it.
        """
        if self.arrow == pa.string():
            return text
        text = pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)
        if not _all_match(text, self.written):
            raise pa.ArrowInvalid(f"not a {self.name}")
        parsed = pc.cast(_normalised(text, self.arrow), self.arrow)
        if pa.types.is_floating(self.arrow) and pc.any(pc.is_inf(parsed)).as_py():
            _refuse_overflow(text, parsed)
        if self.arrow in _YEARS:
            _refuse_other_years(parsed, *_YEARS[self.arrow])
        return parsed

    def is_suggested_by(self, text: pa.Array) -> bool:
        """Whether an undeclared column with the values `text` (no nulls, none empty) can be of this type."""
        return self.inferred is not None and _all_match(text, self.inferred) and _is_taken(text, self.read)


# Integers of more than 15 digits are never read as doubles: those would not hold them exactly.
BOOL = Scalar("bool", pa.bool_(), written=r"(?i:true|false)", inferred=r"(?i:true|false)")
INT64 = Scalar("int64", pa.int64(), written=r"[+-]?\d+", inferred=r"0|-?[1-9]\d{0,18}")
DOUBLE = Scalar(
    "double",
    pa.float64(),
    written=rf"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|{_NOT_FINITE}",
    inferred=rf"-?(0|[1-9]\d{{0,14}})|-?((0|[1-9]\d*)?\.\d+|(0|[1-9]\d*)\.)|-?(0|[1-9]\d*)(\.\d*)?[eE][+-]?\d+|{_NOT_FINITE}",
)
DATE = Scalar("date", pa.date32(), written=_DATE, inferred=_DATE)
TIMESTAMP = Scalar("timestamp", UTC_MICROSECONDS, written=_TIMESTAMP, inferred=_TIMESTAMP)
STRING = Scalar("string", pa.string(), written=r"(?s:.*)", inferred=r"(?s:.*)")
INT32 = Scalar("int32", pa.int32(), written=r"[+-]?\d+")

BY_PREFERENCE = (BOOL, INT64, DOUBLE, DATE, TIMESTAMP, STRING)
"""What inference chooses from: the first that holds every value."""

_ALIASES = {"boolean": BOOL, "int": INT64, "long": INT64, "bigint": INT64, "float64": DOUBLE, "str": STRING}
_NAMES = {scalar.name: scalar for scalar in (*BY_PREFERENCE, INT32)} | _ALIASES
_DECIMAL = re.compile(r"decimal\(\s*(\d+)\s*,\s*(\d+)\s*\)")


def parse_schema(text: str) -> dict[str, Scalar]:
    """`name:type,name:type,…` to types. A name may hold colons and commas inside parentheses do not part it.

    Raises:
        Invalid: a part is not `name:type`, a type is unknown, or a name is there twice.
    """
    schema: dict[str, Scalar] = {}
    for part in re.split(r",(?![^()]*\))", text):
        name, colon, type_name = part.strip().rpartition(":")
        if not colon or not name:
            raise Invalid(f"--schema: {part.strip()!r} is not of the form name:type.", "Example: --schema id:string,amount:decimal(12,2)")
        if name in schema:
            raise Invalid(f"--schema names the column {name!r} twice.")
        schema[name] = scalar_named(type_name.strip().lower())
    return schema


def scalar_named(name: str) -> Scalar:
    """The type called `name`, as in `--schema`.

    Raises:
        Invalid: there is no such type.
    """
    if decimal := _DECIMAL.fullmatch(name):
        precision, scale = int(decimal[1]), int(decimal[2])
        if not 1 <= precision <= 38 or scale > precision:
            raise Invalid(f"--schema: {name} is not possible: 1 to 38 digits, and no more decimals than digits.")
        return Scalar(f"decimal({precision},{scale})", pa.decimal128(precision, scale), written=r"[+-]?(\d+\.?\d*|\.\d+)")
    if name not in _NAMES:
        raise Invalid(f"--schema: the type {name!r} is unknown.", f"Known types: {', '.join(sorted(_NAMES))}, decimal(digits,decimals).")
    return _NAMES[name]


def first_refused(values: Any, read: Callable[[Any], object]) -> int:
    """Index of the first of `values` (an array or list) that `read` refuses with `pa.ArrowInvalid`. There must be one."""
    begin, end = 0, len(values)
    while end - begin > 1:
        middle = (begin + end) // 2
        if _is_taken(values[begin:middle], read):
            begin = middle
        else:
            end = middle
    return begin


def _is_taken(values: Any, read: Callable[[Any], object]) -> bool:
    try:
        read(values)
    except pa.ArrowInvalid:
        return False
    return True


def scalar_of(type_: pa.DataType) -> Scalar:
    """The inferable scalar that is `type_` in Arrow."""
    return next(scalar for scalar in BY_PREFERENCE if scalar.arrow == type_)


def name_of(type_: pa.DataType) -> str:
    """What a person calls the Arrow type `type_`: as in `--schema` where it has a name there."""
    return next((scalar.name for scalar in _NAMES.values() if scalar.arrow == type_), str(type_).replace("128", ""))


def _all_match(text: pa.Array, pattern: str) -> bool:
    matches = pc.all(pc.match_substring_regex(text, f"^(?:{pattern})$"))
    return matches.as_py() is not False  # null: there was no value to match


def _normalised(text: pa.Array, target: pa.DataType) -> pa.Array:
    if pa.types.is_timestamp(target):  # Arrow reads all with a zone, or all without: those without are UTC.
        text = pc.replace_substring_regex(text, rf"^({_DATE})$", r"\1 00:00")
        return pc.replace_substring_regex(text, rf"^({_DATE}[T ]{_TIME})$", r"\1Z")
    if pa.types.is_integer(target):
        return pc.replace_substring_regex(text, r"^\+", "")
    return text


def _refuse_overflow(text: pa.Array, parsed: pa.Array) -> None:
    written_so = pc.match_substring_regex(text, f"^(?:{_NOT_FINITE})$")
    if pc.any(pc.and_not(pc.is_inf(parsed), written_so)).as_py():
        raise pa.ArrowInvalid("number too large for a double")


def _refuse_other_years(parsed: pa.Array, first: pa.Scalar, last: pa.Scalar) -> None:
    if pc.any(pc.or_(pc.less(parsed, first), pc.greater(parsed, last))).as_py():
        raise pa.ArrowInvalid("not in the years 1 to 9999")
