"""Reads footers for another process: `python -m control_plane.footer_process SECONDS`, started by `footer_readers`.

It talks over its standard input and output, a line of JSON at a time: it is told the files, asks for the end of each, gets it with its
length before it, and says what is in them or why they are refused. It has no credentials, ends when its input does, and is ended
by the kernel when it works longer than SECONDS without a word: also when the process that would kill it is no more.
"""

import json
import resource
import signal
import sys
from typing import NamedTuple

from control_plane import footers
from control_plane.errors import ObjectMissing, UploadRefused
from control_plane.footer_reader import LENGTH, MISSING

_MOST_MEMORY = 512 * 1024 * 1024
"""Private memory. A third of it is there before the first footer; the largest footer that is read takes 64 MiB before it is parsed."""


class File(NamedTuple):
    """An object of the store, as a listing has it."""

    key: str
    size: int
    etag: str


def main() -> None:
    """Answer until nobody asks."""
    seconds = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_DATA, (_MOST_MEMORY, _MOST_MEMORY))
    _say("ready")
    while line := sys.stdin.buffer.readline():
        signal.alarm(seconds)
        _answer([File(*each) for each in json.loads(line)], seconds)
        signal.alarm(0)


def _answer(files: list[File], seconds: int) -> None:
    def tail(key: str, size: int) -> bytes:
        signal.alarm(0)
        found = _asked(key, size)
        signal.alarm(seconds)
        return found

    try:
        content = footers.content(files, tail)
    except UploadRefused as error:
        _say("refused", error.detail)
    else:
        _say("content", content.model_dump_json())


def _asked(key: str, size: int) -> bytes:
    _say("tail", key, size)
    length = LENGTH.unpack(_read(LENGTH.size))[0]
    if length == MISSING:
        raise ObjectMissing(key)
    return _read(length)


def _read(size: int) -> bytes:
    found = sys.stdin.buffer.read(size)
    if len(found) < size:
        sys.exit()  # nobody waits for an answer any more
    return found


def _say(*words: str | int) -> None:
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
