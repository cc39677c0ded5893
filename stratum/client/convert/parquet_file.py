"""Parquet: passed on as it is, after every value in it was read once."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from stratum.client.convert.names import check_column_names
from stratum.errors import BrokenFile


@dataclass(frozen=True)
class ParquetFooter:
    """What the footer of a file says."""

    path: Path
    rows: int
    schema: pa.Schema


def read_footer(path: Path) -> ParquetFooter:
    """Read the footer of `path`, and nothing else.

    Raises:
        BrokenFile: it is not Parquet, is cut off, or has columns that no query could name, or without a type.
    """
    with _translated(path, "is not a whole Parquet file"), pq.ParquetFile(path) as file:
        footer = ParquetFooter(path, file.metadata.num_rows, file.schema_arrow.remove_metadata())
    check_column_names(path, footer.schema.names)
    _check_that_all_have_types(path, footer.schema)
    return footer


def _check_that_all_have_types(path: Path, schema: pa.Schema) -> None:
    """Parquet is passed on as it is, and Spark has no values of a type that holds null alone."""
    for field in schema:
        if _has_null_type(field.type):
            raise BrokenFile(
                path,
                f"the column {field.name!r} has the type {field.type}: it is null everywhere, and a dataset needs a type.",
                hint="Write the file anew with a type for it: cast the column, in pyarrow for example to pa.string().",
            )


def _has_null_type(type_: pa.DataType) -> bool:
    if pa.types.is_dictionary(type_):
        return _has_null_type(type_.value_type)
    return pa.types.is_null(type_) or any(_has_null_type(type_.field(i).type) for i in range(type_.num_fields))


def read_through(path: Path) -> None:
    """Decode every page once: a sealed dataset whose pages are damaged could be neither read nor replaced.

    Raises:
        BrokenFile: a page cannot be decoded, or the rows are not as many as the footer says.
    """
    with _translated(path, "holds damaged data"), pq.ParquetFile(path) as file:
        rows = sum(batch.num_rows for batch in file.iter_batches())
        if rows != file.metadata.num_rows:
            raise BrokenFile(path, f"holds {rows} rows, its footer says {file.metadata.num_rows}.")


@contextmanager
def _translated(path: Path, fault: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.strerror:  # Arrow's own I/O errors, such as a broken footer, have none
            raise BrokenFile(path, f"cannot be read: {error.strerror}") from error
        raise BrokenFile(path, f"{fault}: {str(error).strip()}") from error
