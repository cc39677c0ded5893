"""Runs one job as its child and writes down how it ended.

Started by the backend as the leader of a session of its own, so that it outlives the launcher.
Secrets reach the job by the environment and by `command.json`, never by the command line.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import psutil

from launcher.process.folder import Cause, Exit, JobFolder
from launcher.process.identity import ProcessIdentity, session_members

POLL_SECONDS = 0.1
LEFTOVER_GRACE_SECONDS = 2.0


def main() -> int:
    """Claim the start, run the command, record its end. A wrapper that comes second does nothing."""
    arguments = _arguments()
    folder = JobFolder(arguments.folder)
    stop = _StopRequest()
    if not folder.claim_start(ProcessIdentity.current()):
        return 0
    end = _run(folder, arguments.command, arguments.time_limit, arguments.grace, stop)
    folder.clear_scratch()  # first: it may have filled the very disk that the record is written to
    folder.record_exit(end)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m launcher.process.wrapper", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--time-limit", type=float, required=True, help="seconds that the job may take")
    parser.add_argument("--grace", type=float, required=True, help="seconds from the request to end until it is forced")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="-- and the command")
    arguments = parser.parse_args()
    arguments.command = arguments.command[1:]
    return arguments


class _StopRequest:
    """Set by SIGTERM; from then on the job is being ended."""

    def __init__(self) -> None:
        self.made = False
        signal.signal(signal.SIGTERM, self._make)

    def _make(self, *_: object) -> None:
        self.made = True


def _run(folder: JobFolder, command: list[str], time_limit: float, grace: float, stop: _StopRequest) -> Exit:
    deadline = time.monotonic() + time_limit
    oom_kills = _oom_kills()
    with folder.log_file.open("ab") as log:
        try:
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd=folder.scratch)
        except OSError as error:
            return Exit("unstartable", None, _now(), detail=f"{command[0]}: {error.strerror}")
    cause = _wait(child, deadline, stop)
    _end_session(folder, child, LEFTOVER_GRACE_SECONDS if cause == "exited" else grace)
    code = child.wait()
    return Exit(cause, 128 - code if code < 0 else code, _now(), oom_kills=_oom_kills() - oom_kills)


def _wait(child: subprocess.Popen[bytes], deadline: float, stop: _StopRequest) -> Cause:
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(timeout=POLL_SECONDS)
            return "exited"
        if stop.made:
            return "killed"
        if time.monotonic() >= deadline:
            return "time_limit"


def _end_session(folder: JobFolder, child: subprocess.Popen[bytes], grace: float) -> None:
    """End whatever of the job still runs: politely, then firmly. Worker processes leave the group, but never the session."""
    for member in session_members(os.getpid(), folder.marker):
        with contextlib.suppress(psutil.NoSuchProcess):
            member.terminate()
    deadline = time.monotonic() + grace
    # psutil's own waiting would reap the child and lose its exit code
    while time.monotonic() < deadline and any(session_members(os.getpid(), folder.marker)):
        child.poll()
        time.sleep(POLL_SECONDS)
    for member in session_members(os.getpid(), folder.marker):
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()


def _oom_kills() -> int:
    """How many processes the kernel has killed for want of memory since it booted; 0 where it does not say."""
    try:
        lines = Path("/proc/vmstat").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


def _now() -> str:
    return datetime.now(UTC).isoformat()


if __name__ == "__main__":
    sys.exit(main())
