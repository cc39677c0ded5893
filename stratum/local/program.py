"""A server as the supervisor runs it."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

_KEPT = ("HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "SHELL", "TMPDIR", "TZ", "USER", "XDG_CACHE_HOME")


class Program(BaseModel):
    """How to run one server in the foreground.

    Attributes:
        argv: the command line; no secret is in it.
        environment: what the server gets beside `base_environment`.
        folder: its working folder.
        stop_signal: how it is asked to end.
        stop_seconds: how long it may take before it is killed.
        stop_group: whether its whole process group is ended with it.
        settle_seconds: how long it must run to count as started.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    argv: tuple[str, ...]
    folder: Path
    environment: Mapping[str, str] = {}
    stop_signal: Literal["TERM", "INT", "QUIT"] = "TERM"
    stop_seconds: int = 20
    stop_group: bool = True
    settle_seconds: int = 1

    @property
    def signal_number(self) -> signal.Signals:
        """The stop signal as a number."""
        return signal.Signals[f"SIG{self.stop_signal}"]


def base_environment() -> dict[str, str]:
    """What every server may know of the caller's environment."""
    return {name: os.environ[name] for name in _KEPT if name in os.environ}
