"""From the files that a person has to the Parquet files that are uploaded."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from stratum.client.convert.csv_file import CsvFile
from stratum.client.convert.guess import FileGuess, TypeGuess, common_schema
from stratum.client.convert.names import check_field_names
from stratum.client.convert.ndjson_file import NdjsonFile
from stratum.client.convert.parquet_file import ParquetFooter, read_footer, read_through
from stratum.client.convert.reading import Advance, is_gzip
from stratum.client.convert.scalars import Scalar, name_of
from stratum.client.convert.writer import PartWriter
from stratum.errors import BrokenFile, Invalid

FORMATS = ".csv, .tsv, .ndjson, .jsonl (each also with .gz), .parquet"

Progress = Callable[[int, int], None]
"""Told the bytes done and the bytes in all."""


class TextFile(Protocol):
    """A file of rows without (full) types: read once to find them, and again to convert."""

    @property
    def path(self) -> Path:
        """Where it lies."""

    def guess(self, declared: Mapping[str, Scalar], advance: Advance) -> FileGuess:
        """The columns and the types that hold every value."""

    def read(self, schema: pa.Schema, declared: Mapping[str, Scalar], advance: Advance) -> Iterator[pa.RecordBatch]:
        """The rows in these types."""


def prepare(
    paths: Sequence[Path],
    folder: Path,
    *,
    nulls: Sequence[str] = (),
    schema: Mapping[str, Scalar] | None = None,
    delimiter: str | None = None,
    progress: Progress = lambda done, total: None,
) -> list[Path]:
    """Check `paths`, and convert those that are text into `folder`.

    Parquet files stay where they are. Text files together become parts of about 128 MB. `nulls` are texts that mean null in every
    column; `schema` declares the types of some columns, the others are found by reading every value.

    Raises:
        BrokenFile: a file cannot be ingested; names the line.
        Invalid: the request makes no sense: no files, an unknown format, a declared column that is not there.
    """
    if not paths:
        raise Invalid("No files were named.")
    files = [_file(path, nulls, delimiter) for path in paths]
    footers = [file for file in files if isinstance(file, ParquetFooter)]
    texts = [file for file in files if not isinstance(file, ParquetFooter)]
    guesses = [*_guess_all(texts, schema or {}, progress), *(_stated(footer.path, footer.schema) for footer in footers)]
    common = _common_schema(guesses)
    if unknown := (schema or {}).keys() - set(common.names):
        raise Invalid(f"--schema names columns that are not there: {', '.join(sorted(unknown))}.", f"There are: {', '.join(common.names)}")
    if not texts and not any(footer.rows for footer in footers):
        raise BrokenFile(paths[0], "has no rows.")
    for footer in footers:
        _check_same_types(footer.path, footer.schema, common, guesses[0].path)
        read_through(footer.path)
    return _convert_all(texts, common, schema or {}, folder, progress) + [footer.path for footer in footers]


def _file(path: Path, nulls: Sequence[str], delimiter: str | None) -> TextFile | ParquetFooter:
    """What `path` is by its ending, in any case."""
    if not path.is_file():
        raise BrokenFile(path, "is not a file." if path.exists() else "does not exist.", hint="Name an existing file.")
    if path.stat().st_size == 0:
        raise BrokenFile(path, "is empty.")
    match (path.with_suffix("") if is_gzip(path) else path).suffix.lower():
        case ".csv":
            return CsvFile(path, delimiter or ",", nulls)
        case ".tsv":
            return CsvFile(path, delimiter or "\t", nulls)
        case ".ndjson" | ".jsonl":
            return NdjsonFile(path, nulls)
        case ".parquet" if not is_gzip(path):
            return read_footer(path)
        case _:
            raise Invalid(f"{path}: the format cannot be told from the name.", f"Known: {FORMATS}.")


def _guess_all(texts: Sequence[TextFile], declared: Mapping[str, Scalar], progress: Progress) -> list[FileGuess]:
    count = _Counter(texts, progress, passes_before=0)
    return [text.guess(declared, count.of(text)) for text in texts]


def _common_schema(guesses: Sequence[FileGuess]) -> pa.Schema:
    """One schema for all files, whose names all can be used: two files may have fields that only together are one name twice."""
    for guess in guesses:
        for name, column in guess.columns.items():
            check_field_names(guess.path, name, column.arrow)
    common = common_schema(guesses)
    for field in common:
        check_field_names(guesses[-1].path, field.name, field.type)
    return common


def _convert_all(
    texts: Sequence[TextFile], schema: pa.Schema, declared: Mapping[str, Scalar], folder: Path, progress: Progress
) -> list[Path]:
    count = _Counter(texts, progress, passes_before=1)
    with PartWriter(folder, schema) as writer:
        for text in texts:
            for batch in text.read(schema, declared, count.of(text)):
                writer.write(batch)
    return writer.paths


def _stated(path: Path, schema: pa.Schema) -> FileGuess:
    return FileGuess(path, {field.name: TypeGuess(field.type) for field in schema})


def _check_same_types(path: Path, own: pa.Schema, common: pa.Schema, first: Path) -> None:
    """Parquet is passed on as it is, so it needs the common types to the letter."""
    for field in own:
        expected = common.field(field.name).type
        if field.type != expected:
            raise BrokenFile(
                path,
                f"the column {field.name!r} is {name_of(field.type)} here, and {name_of(expected)} in {first}.",
                hint="Write the file anew with that type.",
            )


class _Counter:
    """Turns positions inside single files into bytes done of all files, each of which is read twice."""

    def __init__(self, texts: Sequence[TextFile], progress: Progress, passes_before: int) -> None:
        self._sizes = {text.path: text.path.stat().st_size for text in texts}
        self._total = 2 * sum(self._sizes.values())
        self._before = passes_before * sum(self._sizes.values())
        self._progress = progress

    def of(self, text: TextFile) -> Advance:
        before, self._before = self._before, self._before + self._sizes[text.path]
        return lambda position: self._progress(before + position, self._total)
