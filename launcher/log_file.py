"""Parts of a job's output."""

from pathlib import Path

from launcher.exit_meaning import TAIL_BYTES


def read_part(path: Path, offset: int, size: int) -> bytes:
    """So much from there on; nothing of a file that is not there."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(size)
    except FileNotFoundError:
        return b""


def read_tail(path: Path) -> str:
    """The last of it."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return ""
    return read_part(path, max(size - TAIL_BYTES, 0), TAIL_BYTES).decode(errors="replace")
