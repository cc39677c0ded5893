"""Roles of the control plane as processes of their own, that may be killed at any moment, or live with a wrong clock."""

import asyncio
import multiprocessing
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

# The same server of forks as the control plane's own tests have: it has imported all of it once.
from tests.control_plane.commands import _processes as processes


class Part:
    """One role, running. `clock`: seconds by which its clock is wrong."""

    def __init__(self, role: str, environment: Mapping[str, str], log: Path, clock: float = 0) -> None:
        self.role = role
        self._heard = 0
        self._start = (role, {**os.environ, **environment}, str(log), clock)
        self._process: multiprocessing.process.BaseProcess | None = None

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.exitcode is None

    def start(self) -> None:
        """Start it; it lives until it is killed or ended."""
        assert self._process is None, f"{self.role} runs already"
        process = processes.Process(target=_become, args=self._start, daemon=True)
        process.start()
        self._process = process

    @property
    def _log(self) -> str:
        log = Path(self._start[2])
        return log.read_text(errors="replace") if log.exists() else ""

    def forget(self) -> None:
        """Let `said` count from here on."""
        self._heard = len(self._log)

    def said(self, event: str) -> int:
        """How often it logged the event."""
        return self._log.count(f'"event": "{event}"', self._heard)

    def check(self) -> None:
        """Fail if it ended by itself."""
        if self._process is not None:
            code = self._process.exitcode
            assert code is None, f"{self.role} ended by itself with {code}; it said at last:\n{self._log[-2000:]}"

    def kill(self) -> int | None:
        """`kill -9`; returns its exit code, None if it did not run."""
        return self._end(signal.SIGKILL)

    def terminate(self) -> int | None:
        """SIGTERM; returns its exit code, None if it did not run."""
        return self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> int | None:
        process = self._process
        if process is None or process.pid is None:
            return None
        os.kill(process.pid, number)
        process.join(40)
        code = process.exitcode
        if code is None:
            process.kill()
            process.join()
        process.close()
        self._process = None
        assert code is not None, f"{self.role} did not end within 40 s of {number.name}"
        return code

    async def restart(self) -> None:
        """Start it again, wherever it is now."""
        await asyncio.to_thread(self.start)


def _become(role: str, environment: Mapping[str, str], log: str, clock: float) -> None:
    os.environ.clear()
    os.environ.update(environment)
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for standard in (1, 2):
        os.dup2(descriptor, standard)
    sys.argv = ["control_plane", role]
    from control_plane.__main__ import main
    from tests.chaos.clock import shift

    if clock:
        shift(clock)
    main()
