"""A disk that is soon full: a small tmpfs, which only root may mount."""

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

_PIECE = b"\0" * 65_536


@dataclass(frozen=True)
class SmallDisk:
    """The mounted disk; `folder` is its root."""

    folder: Path

    @property
    def _ballast(self) -> Path:
        return self.folder / "ballast"

    def resize(self, mebibytes: int) -> None:
        """Make it smaller or larger, whatever lies on it."""
        _run("mount", "-o", f"remount,size={mebibytes}m", str(self.folder))

    def fill(self) -> int:
        """Use up all that is free; returns how much that was."""
        taken = 0
        with self._ballast.open("ab", buffering=0) as file:
            try:
                while written := file.write(_PIECE):
                    taken += written
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
        return taken

    def make_room(self) -> None:
        """Take the ballast away."""
        self._ballast.unlink(missing_ok=True)


@contextmanager
def small_disk(folder: Path, mebibytes: int) -> Iterator[SmallDisk]:
    """A disk of that size at `folder`, inside the block. Whoever has files open on it is gone by then."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small tmpfs, and without one no disk is full here")
    folder.mkdir(parents=True)
    _run("mount", "-t", "tmpfs", "-o", f"size={mebibytes}m,mode=0755", "stratum-small-disk", str(folder))
    try:
        yield SmallDisk(folder)
    finally:
        with suppress(subprocess.CalledProcessError):
            _run("umount", str(folder))
        if folder.is_mount():
            _run("umount", "--lazy", str(folder))


def _run(*command: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError as error:
        error.add_note(error.stderr)
        raise
