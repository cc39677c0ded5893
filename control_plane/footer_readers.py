"""Footers, read by processes that are kept for it: pyarrow ends its own over some, and any tenant may upload such a file. Blocking."""

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

import structlog

from contracts.proposal import DatasetContent
from control_plane.errors import Unavailable, UploadRefused
from control_plane.footer_reader import Reader, ReaderEnded

if TYPE_CHECKING:  # pyarrow is for the children alone
    from control_plane.footers import Stored, Tail

log = structlog.get_logger()
_MOST = 4
"""At once. Fewer than there are seals: a seal reads its data for longer than its footers, and each process takes 50 MiB."""
MOST_IDLE = 2
_TRIES = 2


class FooterReaders:
    """Starts a process when it is needed, and keeps it for the next one."""

    def __init__(self) -> None:
        self._turns = threading.BoundedSemaphore(_MOST)
        self._lock = threading.Lock()
        self._idle: list[Reader] = []
        self._busy: set[Reader] = set()
        self._is_closed = False

    def content(self, objects: "Sequence[Stored]", tail: "Tail") -> DatasetContent:
        """As `footers.content`.

        Raises:
            UploadRefused: as there; or a file ended its reader, twice: the first one may have been killed, or hurt by an earlier file.
            Unavailable: no process can be had.
            what `tail` raises.
        """
        with self._turns:
            reader = self._kept()
            for tries_left in reversed(range(_TRIES)):
                try:
                    return self._read(reader or self._new(), objects, tail)
                except ReaderEnded as error:
                    log.warning("a reader of footers ended", error=str(error), code=error.code, said=error.said, tries_left=tries_left)
                    refusal, reader = UploadRefused(str(error)), None
            raise _ending() if self._is_closed else refusal

    def close(self) -> None:
        """End all of them. Who waits for one hears `Unavailable`."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
            for reader in self._busy:
                reader.kill()
        for reader in idle:
            reader.close()

    def _read(self, reader: Reader, objects: "Sequence[Stored]", tail: "Tail") -> DatasetContent:
        try:
            found = reader.content(objects, tail)
        except BaseException:
            self._discard(reader)
            raise
        self._put_back(reader)
        if isinstance(found, str):
            raise UploadRefused(found)
        return found

    def _kept(self) -> Reader | None:
        """One that waits; those that somebody killed meanwhile are forgotten."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                reader = self._idle.pop()
                self._busy.add(reader)
            if reader.is_up:
                return reader
            self._discard(reader)

    def _new(self) -> Reader:
        try:
            reader = Reader()
        except ReaderEnded as error:
            log.warning("a reader of footers did not start", code=error.code, said=error.said)
            raise Unavailable("The process that reads footers did not start. Send the request again.", retry_after=5) from error
        with self._lock:
            if not self._is_closed:
                self._busy.add(reader)
                return reader
        reader.close()
        raise _ending()

    def _put_back(self, reader: Reader) -> None:
        with self._lock:
            if not self._is_closed and len(self._idle) < MOST_IDLE:
                self._busy.discard(reader)
                self._idle.append(reader)
                return
        self._discard(reader)

    def _discard(self, reader: Reader) -> None:
        with self._lock:
            self._busy.discard(reader)
        reader.close()


def _ending() -> Unavailable:
    return Unavailable("This server is about to end. Send the request again.", retry_after=1)
