"""CSV and TSV: Arrow parses, quickly; Python's strict reader checks what Arrow lets pass, and finds the line of what is wrong."""

import csv
import io
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TextIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv

from stratum.client.convert.guess import FileGuess, TextGuess, TypeGuess
from stratum.client.convert.names import check_column_names
from stratum.client.convert.reading import Advance, Opened, opened
from stratum.client.convert.scalars import STRING, Scalar, first_refused, scalar_of
from stratum.errors import BrokenFile

BLOCK_BYTES = 8 << 20
"""Parsed at a time; no row may be longer."""


class Record(NamedTuple):
    """One row as it lies in the file."""

    line: int
    text: str
    fields: list[str]


@dataclass(frozen=True)
class CsvFile:
    """A file of delimited text with a header row, perhaps gzipped. Empty fields are null (quoted ones in string columns are not)."""

    path: Path
    delimiter: str = ","
    nulls: Sequence[str] = ()

    def guess(self, declared: Mapping[str, Scalar], advance: Advance) -> FileGuess:
        """The columns and the types that the whole file allows them.

        Raises:
            BrokenFile: no rows, a bad header, a broken row.
        """
        header = self._header()
        if self._has_quotes():
            self._check_every_record(header)  # Arrow takes a stray quote for the begin of a field that swallows the next rows
        guesses = {name: TextGuess() for name in header if name not in declared}
        rows = 0
        for batch in self._text_batches(header, advance):
            rows += batch.num_rows
            for name, guess in guesses.items():
                guess.observe(batch.column(name))
        if rows == 0:
            raise BrokenFile(self.path, "has a header, but no rows.")
        return FileGuess(self.path, {name: guesses.get(name) or TypeGuess(declared[name].arrow) for name in header})

    def read(self, schema: pa.Schema, declared: Mapping[str, Scalar], advance: Advance) -> Iterator[pa.RecordBatch]:
        """The rows in the types of `schema`.

        Raises:
            BrokenFile: a value is not of its column's type.
        """
        types = {field.name: declared.get(field.name) or scalar_of(field.type) for field in schema}
        rows_before = 0
        for batch in self._text_batches(self._header(), advance):
            columns = [self._read_column(batch, name, type_, rows_before) for name, type_ in types.items()]
            rows_before += batch.num_rows
            yield pa.record_batch(columns, schema=schema)

    def _read_column(self, batch: pa.RecordBatch, name: str, type_: Scalar, rows_before: int) -> pa.Array:
        text = batch.column(name)
        try:
            return type_.read(text)
        except pa.ArrowInvalid as error:
            index = first_refused(text, type_.read)
            record = self._record(rows_before + index)
            raise BrokenFile(
                self.path,
                f"{name} = {text[index].as_py()!r} is not of the type {type_.name}.",
                record.line,
                record.text,
                hint="Mend the row, declare another type with --schema, or name the text that stands for no value with --null.",
            ) from error

    def _text_batches(self, header: list[str], advance: Advance) -> Iterator[pa.RecordBatch]:
        """All rows, every column as text, null marks as nulls."""
        with opened(self.path) as file:
            try:
                yield from self._parsed(file, header, advance)
            except pa.ArrowInvalid as error:
                self._check_every_record(header)
                too_long = f"a row is longer than {BLOCK_BYTES >> 20} MiB." if "straddling" in str(error) else None
                raise BrokenFile(self.path, too_long or f"cannot be read as CSV: {error}") from error

    def _parsed(self, file: Opened, header: list[str], advance: Advance) -> Iterator[pa.RecordBatch]:
        try:
            reader = arrow_csv.open_csv(
                file.unpacked,
                arrow_csv.ReadOptions(block_size=BLOCK_BYTES),
                # a file of one column holds its nulls as empty lines
                arrow_csv.ParseOptions(delimiter=self.delimiter, newlines_in_values=True, ignore_empty_lines=len(header) > 1),
                arrow_csv.ConvertOptions(
                    column_types=dict.fromkeys(header, pa.string()),
                    null_values=[""],
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=False,
                ),
            )
        except pa.ArrowInvalid:
            if self._is_only_a_header():
                return
            raise
        null_marks = pa.array([mark for mark in self.nulls if mark], pa.string())
        for batch in reader:
            advance(file.packed.tell())
            columns = [_without(null_marks, column) for column in batch.columns] if len(null_marks) else batch.columns
            yield pa.record_batch(columns, names=header)

    def _header(self) -> list[str]:
        with self._records() as records:
            record = next(records, None)
        if record is None:
            raise BrokenFile(self.path, "is empty.")
        check_column_names(self.path, record.fields, record.line)
        if len(record.fields) == 1 and (other := [mark for mark in ",;\t|" if mark in record.fields[0]]):
            raise BrokenFile(
                self.path,
                f"the header has one column with {other[0]!r} in its name; perhaps that is the delimiter, not {self.delimiter!r}.",
                record.line,
                record.text,
                hint=f"Name the delimiter: --delimiter {other[0]!r}",
            )
        return record.fields

    def _is_only_a_header(self) -> bool:
        with self._records() as records:
            return next(records, None) is not None and next(records, None) is None

    def _check_every_record(self, header: list[str]) -> None:
        with self._records() as records:
            for record in records:
                if len(record.fields) != len(header):
                    problem = f"{len(record.fields)} field{'s' * (len(record.fields) != 1)} where the header has {len(header)}."
                    raise BrokenFile(self.path, problem, record.line, record.text)

    def _record(self, row: int) -> Record:
        """The row of that number, counted from 0 below the header."""
        with self._records() as records:
            return next(islice(records, row + 1, None))

    @contextmanager
    def _records(self) -> Iterator[Iterator[Record]]:
        """Header and rows, strictly parsed."""
        csv.field_size_limit(sys.maxsize)
        with (
            opened(self.path) as file,
            io.TextIOWrapper(file.unpacked, encoding="utf-8-sig", errors="surrogateescape", newline="") as lines,
        ):
            yield self._strictly_parsed(lines)

    def _strictly_parsed(self, lines: TextIO) -> Iterator[Record]:
        kept: list[str] = []

        def keeping() -> Iterator[str]:
            for line in lines:
                kept.append(line)
                yield line

        reader = csv.reader(keeping(), delimiter=self.delimiter, strict=True)
        columns = 0
        while True:
            kept.clear()
            line = reader.line_num + 1
            try:
                fields = next(reader, None)
            except csv.Error as error:
                problem = f"a quote is not closed, or stands inside a field ({error})."
                raise BrokenFile(self.path, problem, line, kept[0]) from error
            if fields is None:
                return
            text = "".join(kept)
            if not text.isascii():
                self._check_utf8(text, line)
            if fields or columns == 1:  # an empty line is a null in a file of one column, and nothing otherwise
                columns = columns or len(fields)
                yield Record(line, text, fields or [""])

    def _check_utf8(self, text: str, line: int) -> None:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            shown = text.encode("utf-8", "backslashreplace").decode()
            raise BrokenFile(self.path, "is not UTF-8 text.", line, shown, hint="Convert it: iconv -f LATIN1 -t UTF-8 …") from error

    def _has_quotes(self) -> bool:
        with opened(self.path) as file:
            while block := file.unpacked.read(BLOCK_BYTES):
                if b'"' in block:
                    return True
        return False


def _without(marks: pa.Array, column: pa.Array) -> pa.Array:
    return pc.if_else(pc.is_in(column, value_set=marks), pa.scalar(None, STRING.arrow), column)
