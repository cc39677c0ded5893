"""Parquet: passed on as it is, after its footer was read."""

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
    try:
        with pq.ParquetFile(path) as file:
            footer = ParquetFooter(path, file.metadata.num_rows, file.schema_arrow.remove_metadata())
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.strerror:  # Arrow's own I/O errors, such as a broken footer, have none
            raise BrokenFile(path, f"cannot be read: {error.strerror}") from error
        raise BrokenFile(path, f"is not a whole Parquet file: {str(error).strip()}") from error
    check_column_names(path, footer.schema.names)
    return footer
