"""The configuration file of supervisord, made from programs."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from stratum.local.program import Program

SPECIFICATION_SUFFIX = ".program.json"
PID_FILE = "supervisord.pid"

# supervisord waits one second longer after each start that fails, and has no "for ever".
ENDLESS_RETRIES = 1_000_000


def render(programs: Sequence[Program], logs: Path, socket: Path) -> str:
    """The text of supervisord.conf: nothing starts by itself, everything starts again.

    Paths are relative to the folder supervisord is started in: it expands `%` in them, in some twice.

    Args:
        logs: folder of one rotated log a program.
        socket: where it listens; only its owner can connect.
    """
    daemon = {"logfile": logs / "supervisord.log", "logfile_maxbytes": "5MB", "logfile_backups": 2, "pidfile": PID_FILE}
    daemon |= {"nodaemon": "false", "umask": "077", "minfds": 1024}
    if os.geteuid() == 0:
        daemon["user"] = "root"  # said aloud, or it warns
    sections = [
        _section("unix_http_server", {"file": socket, "chmod": "0700"}),
        _section("supervisord", daemon),
        _section("rpcinterface:supervisor", {"supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"}),
    ]
    sections += [_section(f"program:{program.name}", _program(program, logs)) for program in programs]
    return "\n".join(sections)


def _program(program: Program, logs: Path) -> Mapping[str, object]:
    runner = [sys.executable, "-m", "stratum.local.runner", program.name + SPECIFICATION_SUFFIX, PID_FILE]
    return {
        "command": shlex.join(runner),
        "autostart": "false",
        "autorestart": "true",
        "startsecs": program.settle_seconds,
        "startretries": ENDLESS_RETRIES,
        "stopsignal": program.stop_signal,
        "stopwaitsecs": program.stop_seconds,
        "stopasgroup": str(program.stop_group).lower(),
        "killasgroup": str(program.stop_group).lower(),
        "redirect_stderr": "true",
        "stdout_logfile": logs / f"{program.name}.log",
        "stdout_logfile_maxbytes": "10MB",
        "stdout_logfile_backups": 3,
    }


def _section(name: str, values: Mapping[str, object]) -> str:
    lines = (f"{key} = {str(value).replace('%', '%%')}" for key, value in values.items())
    return "\n".join([f"[{name}]", *lines, ""])
