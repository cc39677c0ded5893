"""Which process is meant: a pid alone may be another's by now."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A pid and when its process was started; `started` can only be compared, and only on this machine."""

    pid: int
    started: str

    @classmethod
    def current(cls) -> "ProcessIdentity":
        """This process."""
        pid = os.getpid()
        started = _started(pid)
        if started is None:
            raise ProcessLookupError(pid)
        return cls(pid, started)

    def is_alive(self) -> bool:
        """Whether that very process still runs; a zombie does not."""
        return _started(self.pid) == self.started


def _started(pid: int) -> str | None:
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return _linux_start(pid) or f"{process.create_time():.2f}"
    except psutil.NoSuchProcess:
        return None


def _linux_start(pid: int) -> str | None:
    """Boot id and clock ticks since that boot: unlike a time of day, they do not move when the clock is set."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None
    start_time = 19  # field 22 of proc(5), counted from the one behind the name
    return f"{boot}/{fields[start_time]}"


def session_members(leader: int, marker: tuple[str, str]) -> Iterator[psutil.Process]:
    """Living processes of the session of pid `leader`, the leader left out, that carry the environment variable `marker`.

    The marker keeps a foreign session safe that was given the same pid after ours was over.
    """
    name, value = marker
    for process, found in marked_processes(name):
        with contextlib.suppress(ProcessLookupError):
            if found == value and process.pid != leader and os.getsid(process.pid) == leader:
                yield process


def marked_processes(name: str) -> Iterator[tuple[psutil.Process, str]]:
    """Living processes that carry the environment variable `name`, with its value."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if process.status() != psutil.STATUS_ZOMBIE and (value := process.environ().get(name)) is not None:
                yield process, value
