"""All servers of one home under one supervisord: it starts them again when they fall, and everything is asked through its socket."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import xmlrpc.client
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supervisor.xmlrpc import SupervisorTransport

from stratum.local.errors import ServiceFailed, SupervisorFailed
from stratum.local.identity import end_group, identity
from stratum.local.private_file import write_private
from stratum.local.program import Program, base_environment
from stratum.local.supervisord_conf import PID_FILE, SPECIFICATION_SUFFIX, render

# The system's limit is 108 (104 on macOS), and supervisord binds a longer name first.
SOCKET_PATH_LIMIT = 90
START_SECONDS = 20
POLL_SECONDS = 0.1
MOST_LIVES = 3
LONG_UP_SECONDS = 60
"""What has been up for so long is past its start."""
HANGING_SECONDS = 10
"""If it has not answered for so long by then, it hangs: a server that was told to end by somebody else may neither end nor serve."""
LOG_TAIL_LINES = 25


class NotReady(Exception):
    """A server does not answer as it should, yet; the message says what was wrong."""


@dataclass(frozen=True)
class ProgramState:
    """What the supervisor knows of a program: `name` of its state (RUNNING, BACKOFF, …), pid (0: none), seconds since its start."""

    name: str
    pid: int
    seconds: int


class Supervisor:
    """The supervisord of one home folder; this object only speaks to it, so any number of them may exist."""

    def __init__(self, home: Path) -> None:
        self._folder = home / "supervisor"
        self._logs = home / "logs"
        self._pid_file = self._folder / PID_FILE
        self._record = self._folder / "supervisord.json"

    def is_running(self) -> bool:
        """Whether it answers."""
        try:
            return bool(self._ask("getState")["statename"] == "RUNNING")
        except (OSError, http.client.HTTPException, xmlrpc.client.Error):
            return False

    def launch(self, programs: Sequence[Program]) -> None:
        """Start supervisord for `programs`; none of them runs yet. Call `end_leftovers` before.

        Raises:
            SupervisorFailed: it did not start.
        """
        self._logs.mkdir(parents=True, exist_ok=True)
        _make_private(self._folder)
        _make_private(self._socket.parent)
        for stale in self._specifications():
            stale.unlink()
        for program in programs:
            write_private(self._folder / f"{program.name}{SPECIFICATION_SUFFIX}", program.model_dump_json())
        config = self._folder / "supervisord.conf"
        write_private(config, render(programs, Path("..") / self._logs.name, self._socket_as_seen_there))
        command = [sys.executable, "-m", "supervisor.supervisord", "-c", config.name]
        done = subprocess.run(
            command, capture_output=True, text=True, env=base_environment(), stdin=subprocess.DEVNULL, cwd=self._folder, check=False
        )
        deadline = time.monotonic() + START_SECONDS
        while done.returncode == 0 and not self.is_running():
            if time.monotonic() > deadline:
                break
            time.sleep(POLL_SECONDS)
        if not self.is_running():
            raise SupervisorFailed(
                f"supervisord did not start: {(done.stdout + done.stderr).strip()}\n{self.log_tail('supervisord')}\n",
                f"See {self._logs / 'supervisord.log'}.",
            )
        pid = int(self._pid_file.read_text())
        write_private(self._record, json.dumps({"pid": pid, "identity": identity(pid)}))

    def start(self, name: str) -> None:
        """Make program `name` run, unless it does or is being tried."""
        try:
            self._ask("startProcess", name, False)
        except xmlrpc.client.Fault as fault:
            if "ALREADY_STARTED" not in fault.faultString:
                raise SupervisorFailed(f"{name} could not be started: {fault.faultString}.", "Run `stratum down`, then `up`.") from fault

    def stop(self, *names: str) -> None:
        """End these programs, all at once, and wait until they are gone."""
        with ThreadPoolExecutor(len(names)) as pool:
            for _ in pool.map(self._stop, names):
                pass

    def _stop(self, name: str) -> None:
        try:
            self._ask("stopProcess", name, True)
        except xmlrpc.client.Fault as fault:
            if "NOT_RUNNING" not in fault.faultString and "BAD_NAME" not in fault.faultString:
                raise SupervisorFailed(f"{name} could not be stopped: {fault.faultString}.", "Run `stratum down` again.") from fault

    def state(self, name: str) -> ProgramState:
        """What the supervisor knows of program `name`."""
        found = self._ask("getProcessInfo", name)
        return ProgramState(found["statename"], found["pid"], max(0, found["now"] - found["start"]) if found["pid"] else 0)

    def await_ready(self, name: str, check: Callable[[], None], seconds: float) -> None:
        """Wait until program `name` runs and `check` returns. One that was up before and hangs is started anew, once.

        Args:
            check: asks the server; raises NotReady with what was wrong.
            seconds: how long to wait; less when the program keeps falling.

        Raises:
            ServiceFailed: it is not ready by then; the message ends with its log.
        """
        began = time.monotonic()
        lives: set[int] = set()
        first = self.state(name)
        while True:
            state = self.state(name)
            lives |= {state.pid} - {0}
            reason = f"it is {state.name.lower()}, life {len(lives)}"
            if state.name == "RUNNING":
                try:
                    check()
                    return
                except NotReady as error:
                    reason = str(error)
            waited = time.monotonic() - began
            was_up_before = state.pid == first.pid and first.seconds > 1
            if was_up_before and state.seconds >= LONG_UP_SECONDS and waited > HANGING_SECONDS:
                self.stop(name)
                self.start(name)
                continue
            if waited > seconds or len(lives) > MOST_LIVES or state.name == "FATAL":
                raise ServiceFailed(
                    f"{name} is not ready after {waited:.0f} s: {reason}. The end of its log:\n{self.log_tail(name)}\n",
                    f"The whole log is {self.log_file(name)}.",
                )
            time.sleep(POLL_SECONDS)

    def shutdown(self) -> None:
        """End what still runs, and supervisord itself."""
        record = _read_record(self._record)
        if self.is_running():
            self._ask("shutdown")
        if record is not None:
            pid, identity_was = record
            deadline = time.monotonic() + 60
            while identity(pid) == identity_was and time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)
        self.end_leftovers()

    def end_leftovers(self) -> None:
        """End a supervisord that no longer answers, and servers whose supervisord was killed; never anyone else's process."""
        if (record := _read_record(self._record)) is not None:
            end_group(*record, stop_signal=signal.SIGKILL, patience_seconds=0)
        for specification in self._specifications():
            program = Program.model_validate_json(specification.read_bytes())
            if (record := _read_record(specification.with_suffix(".pid"))) is not None:
                end_group(*record, stop_signal=program.signal_number, patience_seconds=program.stop_seconds)
            for path in program.litter:
                path.unlink(missing_ok=True)
        for record_file in (self._record, *(path.with_suffix(".pid") for path in self._specifications())):
            record_file.unlink(missing_ok=True)

    def log_file(self, name: str) -> Path:
        """Where program `name` (or `supervisord`) writes."""
        return self._logs / f"{name}.log"

    def log_tail(self, name: str) -> str:
        """The last lines of a program's log."""
        path = self.log_file(name)
        if not path.exists():
            return "(nothing was written)"
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 16_384))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-LOG_TAIL_LINES:])

    @property
    def _socket(self) -> Path:
        inside = self._folder / "supervisor.sock"
        if len(os.fsencode(inside)) <= SOCKET_PATH_LIMIT:
            return inside
        name = hashlib.sha256(os.fsencode(self._folder.resolve())).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"stratum-{os.geteuid()}-{name}" / "supervisor.sock"

    @property
    def _socket_as_seen_there(self) -> Path:
        return Path(self._socket.name) if self._socket.parent == self._folder else self._socket

    def _specifications(self) -> list[Path]:
        return sorted(self._folder.glob(f"*{SPECIFICATION_SUFFIX}"))

    def _ask(self, method: str, *arguments: str | bool) -> Any:
        transport = SupervisorTransport(None, None, f"unix://{self._socket}")
        # The host is never looked up: the transport goes to the socket. A connection serves one thread, so each call has its own.
        with xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport) as server:
            return getattr(server.supervisor, method)(*arguments)


def _read_record(path: Path) -> tuple[int, str] | None:
    """A process's pid and identity as recorded in `path`; None when nothing (readable) is there."""
    try:
        record = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    return int(record["pid"]), str(record["identity"])


def _make_private(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    # In a shared place for temporary files somebody else may have made it.
    if folder.stat().st_uid != os.geteuid():
        raise SupervisorFailed(f"{folder} belongs to another user.", "Choose another STRATUM_HOME (with a shorter path).")
    folder.chmod(0o700)
