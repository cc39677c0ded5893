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
        BrokenFile: it is not Parquet, is cut off, or has columns that no query could name.
    """
    with _translated(path, "is not a whole Parquet file"), pq.ParquetFile(path) as file:
        footer = ParquetFooter(path, file.metadata.num_rows, file.schema_arrow.remove_metadata())
    check_column_names(path, footer.schema.names)
    return footer


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
