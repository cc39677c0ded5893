"""Recognise a process beyond its pid: pids are used again, a pid with its start time is not."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import psutil

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def identity(pid: int) -> str | None:
    """What tells process `pid` from every other that had or will have that pid; None when it does not run.

    On Linux the start time in clock ticks since that boot, which no change of the clock moves; elsewhere the time of day.
    """
    if not _BOOT_ID.exists():
        return _identity_by_clock(pid)
    try:
        # The name in parentheses may hold spaces; fields are counted after it.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The first thread of a killed process may be dead while others still hold its ports.
    is_gone = fields[0] in "ZX" and int(fields[17]) <= 1
    return None if is_gone else f"{_BOOT_ID.read_text().strip()}/{fields[19]}"


def _identity_by_clock(pid: int) -> str | None:
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else str(process.create_time())
    except psutil.NoSuchProcess:
        return None


def end_group(pid: int, identity_was: str, stop_signal: signal.Signals, patience_seconds: float) -> None:
    """End that very process and its group: `stop_signal` first, SIGKILL when it does not go. Never touches another process."""
    if identity(pid) != identity_was:
        return
    os.kill(pid, stop_signal)
    deadline = time.monotonic() + patience_seconds
    while identity(pid) == identity_was and time.monotonic() < deadline:
        time.sleep(0.05)
    if identity(pid) == identity_was:
        _kill(pid)
        while identity(pid) == identity_was:
            time.sleep(0.02)


def _kill(pid: int) -> None:
    try:
        # A leader takes its group along; a process in somebody else's group goes alone.
        if os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGKILL)
        else:
            os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
