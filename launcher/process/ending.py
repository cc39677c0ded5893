"""Ends jobs from outside: fulfils wishes, and settles what lost its wrapper."""

import contextlib
import errno
import os
import signal
import time
from datetime import UTC, datetime
from pathlib import Path

import psutil

from launcher.process.folder import MARKER, Exit, JobFolder
from launcher.process.identity import marked_processes, session_members

WRAPPER_GRACE_SECONDS = 5.0
"""How much longer than its job's grace a wrapper may take before it is killed as well."""
_POLL_SECONDS = 0.1
_ROUNDS = 50


def enforce_wish(folder: JobFolder, grace_seconds: float) -> None:
    """If the job shall end: one not started never will be, a wrapper is told, and killed if it does not listen."""
    wish = folder.end_wish()
    if wish is None:
        return
    if folder.claim_start(None):
        folder.record_exit(Exit("killed", None, now()))
        return
    overdue = time.time() > wish.since + grace_seconds + WRAPPER_GRACE_SECONDS
    _signal_wrapper(folder, signal.SIGKILL if overdue else signal.SIGTERM)


def ask_to_end(folder: JobFolder, reason: str, grace_seconds: float) -> None:
    """Wish the job's end, and enforce it. Where a full disk takes no wish, its wrapper is told all the same: that makes room."""
    try:
        folder.wish_end(reason)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        _signal_wrapper(folder, signal.SIGTERM)
    enforce_wish(folder, grace_seconds)


def settle(folder: JobFolder) -> None:
    """Record the end of a job whose wrapper is gone, after ending all that is left of it."""
    start = folder.start()
    if start is None or folder.exit() is not None:
        return
    if start.identity is not None:
        _end_session(start.identity.pid, folder)
    folder.clear_scratch()  # first: it may have filled the very disk that the record is written to
    folder.record_exit(Exit("vanished", None, now()))


def stop_jobs(root: Path, reason: str, grace_seconds: float) -> int:
    """End every running job of `root` and wait until all are gone; what waits for a slot stays. The number that was ended.

    For use while no launcher runs there.
    """
    if not root.is_dir():
        return 0
    root = root.resolve()
    ended: set[str] = set()
    deadline = time.monotonic() + grace_seconds + WRAPPER_GRACE_SECONDS
    while True:
        for folder in _started(root):
            ended.add(folder.name)
            ask_to_end(folder, reason, grace_seconds)
        # a wrapper that has not claimed its start yet shows in no folder, but it is marked
        left = [process for process, folder_path in marked_processes(MARKER) if Path(folder_path).parent == root]
        if not left:
            break
        if time.monotonic() > deadline:
            for process in left:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        time.sleep(_POLL_SECONDS)
    for folder in _started(root):
        settle(folder)
    return len(ended)


def _started(root: Path) -> list[JobFolder]:
    return [folder for folder in JobFolder.all(root) if folder.start() is not None and folder.exit() is None]


def now() -> str:
    """The time of day, for records."""
    return datetime.now(UTC).isoformat()


def _signal_wrapper(folder: JobFolder, number: signal.Signals) -> None:
    start = folder.start()
    if start is not None and start.identity is not None and start.identity.is_alive():
        with contextlib.suppress(ProcessLookupError):
            os.kill(start.identity.pid, number)


def _end_session(leader: int, folder: JobFolder) -> None:
    for _ in range(_ROUNDS):  # a process may start another between the look and the blow
        members = list(session_members(leader, folder.marker))
        if not members:
            return
        for member in members:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        time.sleep(_POLL_SECONDS / 10)
