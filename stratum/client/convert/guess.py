"""What is known of a column's type after each value of it was seen."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from stratum.client.convert.scalars import BY_PREFERENCE, STRING, Scalar, name_of
from stratum.errors import BrokenFile


@dataclass
class TextGuess:
    """The types that a column of text may still have. With no value seen that is all of them, and the column is a string."""

    candidates: frozenset[Scalar] = frozenset(BY_PREFERENCE)
    seen: bool = False

    @property
    def scalar(self) -> Scalar:
        """The narrowest type that holds every value seen."""
        return next((scalar for scalar in BY_PREFERENCE if scalar in self.candidates), STRING) if self.seen else STRING

    @property
    def arrow(self) -> pa.DataType:
        """`scalar` as an Arrow type."""
        return self.scalar.arrow

    def observe(self, text: pa.Array) -> None:
        """Narrow the guess by more values (strings; nulls and empty ones say nothing)."""
        values = pc.drop_null(pc.unique(text))
        values = values.filter(pc.not_equal(values, ""))
        if len(values):
            self.seen = True
            self.candidates = frozenset(scalar for scalar in self.candidates if scalar.is_suggested_by(values))

    def joined(self, other: "TextGuess") -> "TextGuess | None":
        """The guess that holds for both columns; None if that would turn one of them into mere strings."""
        if not (self.seen and other.seen):
            return self if self.seen else other
        both = TextGuess(self.candidates & other.candidates, seen=True)
        degraded = both.scalar is STRING and not (self.scalar is STRING and other.scalar is STRING)
        return None if degraded else both


@dataclass
class FileGuess:
    """The columns of one file, in its order."""

    path: Path
    columns: Mapping[str, "TextGuess | TypeGuess"] = field(default_factory=dict)


@dataclass
class TypeGuess:
    """A column whose type the file itself states (a JSON number or object, a declared column). Null: not seen yet."""

    arrow: pa.DataType

    def joined(self, other: "TypeGuess") -> "TypeGuess | None":
        """The guess that holds for both, if there is one."""
        unified = unify(self.arrow, other.arrow)
        return None if unified is None else TypeGuess(unified)


def unify(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """The narrowest type that holds the values of both without loss; None if there is none. Objects may have each other's fields."""
    if one == other or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    if {one, other} == {pa.int64(), pa.float64()}:
        return pa.float64()
    if pa.types.is_list(one) and pa.types.is_list(other):
        item = unify(one.value_type, other.value_type)
        return None if item is None else pa.list_(item)
    if pa.types.is_struct(one) and pa.types.is_struct(other):
        return _unify_structs(one, other)
    return None


def _unify_structs(one: pa.StructType, other: pa.StructType) -> pa.StructType | None:
    fields = {one.field(i).name: one.field(i).type for i in range(one.num_fields)}
    for i in range(other.num_fields):
        name, type_ = other.field(i).name, other.field(i).type
        unified = unify(fields.get(name, pa.null()), type_)
        if unified is None:
            return None
        fields[name] = unified
    return pa.struct(list(fields.items()))


def common_schema(guesses: Iterable[FileGuess]) -> pa.Schema:
    """One schema for all files, in the column order of the first.

    Raises:
        BrokenFile: two files have other columns, or a column of types that do not go together; names the difference.
    """
    first, *others = guesses
    columns = dict(first.columns)
    for other in others:
        _same_names(first, other)
        for name, guess in other.columns.items():
            columns[name] = _join(name, columns[name], guess, first.path, other.path)
    try:
        return pa.schema([pa.field(name, _settled(guess.arrow)) for name, guess in columns.items()])
    except pa.ArrowInvalid as error:
        raise BrokenFile(first.path, str(error)) from error


def _same_names(first: FileGuess, other: FileGuess) -> None:
    missing = [name for name in first.columns if name not in other.columns]
    extra = [name for name in other.columns if name not in first.columns]
    if missing or extra:
        parts = [f"lacks {_quoted(missing)}"] * bool(missing) + [f"has {_quoted(extra)} besides"] * bool(extra)
        raise BrokenFile(
            other.path, f"other columns than {first.path}: it {' and '.join(parts)}.", hint="All files of a dataset need the same columns."
        )


def _join(name: str, one: TextGuess | TypeGuess, other: TextGuess | TypeGuess, first: Path, path: Path) -> TextGuess | TypeGuess:
    joined: TextGuess | TypeGuess | None
    if isinstance(one, TextGuess) and isinstance(other, TextGuess):
        joined = one.joined(other)
    else:
        joined = TypeGuess(one.arrow).joined(TypeGuess(other.arrow))
    if joined is None:
        raise BrokenFile(
            path,
            f"the column {name!r} is {name_of(other.arrow)} here, and {name_of(one.arrow)} in {first}.",
            hint=f"Mend the file, or say which type is meant: --schema {name}:…",
        )
    return joined


def _settled(type_: pa.DataType) -> pa.DataType:
    """No column is of the null type: one that never has a value is a string."""
    if pa.types.is_null(type_):
        return pa.string()
    if pa.types.is_list(type_):
        return pa.list_(_settled(type_.value_type))
    if pa.types.is_struct(type_):
        if type_.num_fields == 0:
            raise pa.ArrowInvalid("an object that never has a key has no place in Parquet.")
        return pa.struct([(type_.field(i).name, _settled(type_.field(i).type)) for i in range(type_.num_fields)])
    return type_


def _quoted(names: list[str]) -> str:
    return ", ".join(map(repr, names))
