"""What the footers of Parquet files say: rows, schema and column statistics. No data page is read.

For `footer_process` alone: pyarrow ends the process over some footers, instead of raising an error.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from contracts.manifest import schema_fingerprint
from contracts.proposal import Column, DataFile, DatasetContent
from control_plane.errors import ObjectMissing, UploadRefused
from control_plane.footer_columns import columns_of
from control_plane.footer_statistics import Bounds, column_bounds, statistics

_FIRST_READ = 64 * 1024
_MOST_FOOTER = 64 * 1024 * 1024

Tail = Callable[[str, int], bytes]
"""Reads the last n bytes of an object, by key."""


class Stored(Protocol):
    """An object of the store, as a listing has it."""

    @property
    def key(self) -> str:
        """Its whole key."""

    @property
    def size(self) -> int:
        """Bytes."""

    @property
    def etag(self) -> str:
        """As the store gave it."""


def content(objects: Sequence[Stored], tail: Tail) -> DatasetContent:
    """Rows, schema and statistics of the files; raises `UploadRefused` naming the file that is not Parquet or does not fit the others."""
    files: list[DataFile] = []
    bounds: list[dict[str, Bounds]] = []
    columns: tuple[Column, ...] | None = None
    for item in objects:
        name = item.key.rsplit("/", 1)[-1]
        last = _footer(item, name, tail)
        with _refusing(name):
            metadata = _metadata(last, item.size, name)
            found = columns_of(metadata.schema.to_arrow_schema(), name)
            files.append(DataFile(key=item.key, size=item.size, rows=metadata.num_rows, etag=item.etag))
            bounds.append(column_bounds(metadata))
        if columns is None:
            columns = found
        elif found != columns:
            raise UploadRefused(
                f"{name} has another schema than the other files: {_difference(columns, found)}. All files of a dataset agree."
            )
    if not columns:
        raise UploadRefused("The files have no columns.")
    rows = sum(file.rows for file in files)
    if rows == 0:
        raise UploadRefused("The files have no rows; an empty dataset is refused.")
    with _refusing("The dataset"):
        return DatasetContent(
            files=tuple(files),
            rows=rows,
            bytes=sum(file.size for file in files),
            columns=columns,
            schema_fingerprint=schema_fingerprint(columns),
            column_statistics=statistics(bounds),
        )


@contextmanager
def _refusing(name: str) -> Iterator[None]:
    """A footer is input of a stranger: whatever goes wrong with it is the file's fault, and will go wrong each time it is read."""
    try:
        yield
    except UploadRefused:
        raise
    except Exception as error:
        raise UploadRefused(f"{name} cannot be read: {type(error).__name__}: {str(error)[:200]}") from error


def _footer(item: Stored, name: str, tail: Tail) -> bytes:
    """The end of the file, from its footer on or before. Errors of the store pass: another attempt may find it well."""
    try:
        last = tail(item.key, min(item.size, _FIRST_READ))
        if len(last) < 12 or last[-4:] != b"PAR1":
            raise UploadRefused(f"{name} is not a complete Parquet file: it does not end with a Parquet footer.")
        footer = _length(last)
        if footer > min(item.size - 4, _MOST_FOOTER):
            raise UploadRefused(f"{name} is corrupt: its footer claims {footer} bytes of a file of {item.size}.")
        return last if footer <= len(last) else tail(item.key, footer)
    except ObjectMissing as error:
        raise UploadRefused(f"{name} vanished while it was read.") from error


def _length(last: bytes) -> int:
    return int.from_bytes(last[-8:-4], "little") + 8


def _metadata(last: bytes, size: int, name: str) -> Any:
    try:
        metadata = pq.read_metadata(io.BytesIO(last))
        end = max(
            (_end(metadata.row_group(i).column(j)) for i in range(metadata.num_row_groups) for j in range(metadata.num_columns)), default=4
        )
    except (pa.ArrowException, OSError) as error:
        raise UploadRefused(f"{name} is corrupt: {error}") from error
    if end > size - _length(last):
        raise UploadRefused(f"{name} is corrupt: its footer names data beyond the end of the file.")
    return metadata


def _end(chunk: Any) -> int:
    begin = chunk.data_page_offset if chunk.dictionary_page_offset is None else min(chunk.dictionary_page_offset, chunk.data_page_offset)
    return int(begin + chunk.total_compressed_size)


def _difference(expected: tuple[Column, ...], found: tuple[Column, ...]) -> str:
    left, right = {c.name: c.type for c in expected}, {c.name: c.type for c in found}
    for name in left.keys() | right.keys():
        if left.get(name) != right.get(name):
            return f"column {name!r} is {right.get(name, 'missing')} instead of {left.get(name, 'missing')}"
    return "the columns stand in another order"
