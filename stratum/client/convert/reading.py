"""Bytes of local files, unpacked where they are gzipped."""

import gzip
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from stratum.errors import BrokenFile

Advance = Callable[[int], None]
"""Told how many bytes of the file on disk were read so far."""


class Opened(NamedTuple):
    """`unpacked` gives the content; `packed` is the file as it lies on disk, for its position."""

    unpacked: BinaryIO
    packed: BinaryIO


def is_gzip(path: Path) -> bool:
    """Whether `path` says by its ending that it is gzipped."""
    return path.suffix.lower() == ".gz"


@contextmanager
def opened(path: Path) -> Iterator[Opened]:
    """Open `path` for reading.

    Raises:
        BrokenFile: it cannot be opened or read, or is not a whole gzip file; also for errors while reading inside the context.
    """
    try:
        with path.open("rb") as packed:
            if is_gzip(path):
                with gzip.open(packed) as unpacked:
                    yield Opened(cast(BinaryIO, unpacked), packed)
            else:
                yield Opened(packed, packed)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise BrokenFile(path, f"is not a whole gzip file: {error}") from error
    except OSError as error:
        raise BrokenFile(path, f"cannot be read: {error.strerror or error}") from error
