"""One child process that reads footers, as its parent sees it. Blocking."""

import json
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any, cast

from contracts.proposal import DatasetContent
from control_plane.errors import ObjectMissing

if TYPE_CHECKING:  # pyarrow is for the child alone
    from control_plane.footers import Stored, Tail

ANSWER_SECONDS = 60
"""For the start of the process, and between its words: for one footer."""
LENGTH = struct.Struct("!q")
"""Goes before the bytes of a file."""
MISSING = -1
"""Instead of a length: there is no such file any more."""
_COMMAND = (sys.executable, "-m", "control_plane.footer_process")
_LONGEST_LINE = 64 * 1024 * 1024
_INHERITED = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TZ")


class ReaderEnded(Exception):
    """The process ended, or was ended, before it had answered."""

    def __init__(self, what: str, code: int, said: str) -> None:
        super().__init__(what)
        self.code = code
        self.said = said


class Reader:
    """A process that waits for files to read. Raises `ReaderEnded` when it does not start. One thread at a time, but for `kill`."""

    def __init__(self) -> None:
        # a group of its own: Ctrl-C in a terminal is for the parent, which lets seals come to their end
        pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        self._process = subprocess.Popen((*_COMMAND, str(ANSWER_SECONDS)), env=_environment(), process_group=0, **pipes)
        self._in, self._out, self._err = (
            cast(IO[bytes], pipe) for pipe in (self._process.stdin, self._process.stdout, self._process.stderr)
        )
        try:
            self._exchange("Nothing")
        except ReaderEnded:
            self.close()
            raise

    @property
    def is_up(self) -> bool:
        """Whether it can be asked."""
        return self._process.poll() is None

    def content(self, objects: "Sequence[Stored]", tail: "Tail") -> DatasetContent | str:
        """What `footers.content` says of the objects, or why it refuses them.

        Raises:
            ReaderEnded: there is no answer.
            what `tail` raises: then this reader is to be closed.
        """
        keys = {item.key for item in objects}
        name = "A file"
        answer = self._exchange(name, json.dumps([(item.key, item.size, item.etag) for item in objects]).encode() + b"\n")
        while answer[0] == "tail":
            _, key, size = answer
            if key not in keys:
                raise self._ended(f"{name} cannot be read: its reader asked for another file")
            name = key.rsplit("/", 1)[-1]
            answer = self._exchange(name, *_sized(tail, key, size))
        kind, text = answer
        return DatasetContent.model_validate_json(text) if kind == "content" else str(text)

    def kill(self) -> None:
        """End the process. Whoever waits for its answer hears `ReaderEnded`."""
        self._process.kill()

    def close(self) -> None:
        """End the process, and leave nothing of it."""
        self._process.kill()
        self._process.wait()
        self._out.close()
        self._err.close()
        with suppress(BrokenPipeError):  # of what was meant for a process that is no more
            self._in.close()

    def _exchange(self, name: str, *said: bytes) -> list[Any]:
        """What it answers, in time."""
        late = threading.Event()
        timer = threading.Timer(ANSWER_SECONDS, self._kill, (late,))
        timer.start()
        try:
            for each in said:
                self._in.write(each)
            self._in.flush()
            line = self._out.readline(_LONGEST_LINE)
        except BrokenPipeError:
            line = b""
        finally:
            timer.cancel()
        if not line.endswith(b"\n"):
            what = f"took longer than {ANSWER_SECONDS} s" if late.is_set() else "ended the reader"
            raise self._ended(f"{name} cannot be read: reading its footer {what}")
        answer: list[Any] = json.loads(line)
        return answer

    def _kill(self, late: threading.Event) -> None:
        late.set()
        self._process.kill()

    def _ended(self, what: str) -> ReaderEnded:
        self._process.kill()
        self._process.wait()
        said = self._err.read().decode(errors="replace")
        return ReaderEnded(what, self._process.returncode, said[-500:])


def _sized(tail: "Tail", key: str, size: int) -> tuple[bytes, ...]:
    try:
        found = tail(key, size)
    except ObjectMissing:
        return (LENGTH.pack(MISSING),)
    return LENGTH.pack(len(found)), found


def _environment() -> dict[str, str]:
    """By name, and not all but the secrets: who knows how those are called."""
    return {name: value for name, value in os.environ.items() if name in _INHERITED or name.startswith("PYTHON")} | {
        "ARROW_DEFAULT_MEMORY_POOL": "system",  # another would reserve more than the limit of its memory
        "OMP_NUM_THREADS": "1",  # and so would a thread for each core of a large machine
        "OPENBLAS_NUM_THREADS": "1",
    }
