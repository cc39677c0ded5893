"""A server as the supervisor runs it, described so that another process can start it."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

# Anything else in the caller's shell (AWS_…, PG…, SPARK_…, WEED_…) would reach into our servers.
KEPT_VARIABLES = (
    *("HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "SHELL", "TMPDIR", "TZ", "USER", "XDG_CACHE_HOME"),
    *("LD_LIBRARY_PATH", "PYTHONPATH", "SSL_CERT_FILE"),
)


class Program(BaseModel):
    """How to run one server in the foreground.

    Attributes:
        name: unique in its home; names its log too.
        argv: the command line; no secret is in it. What runs is this very process, without a wrapper.
        folder: its working folder.
        environment: what it gets beside `base_environment`.
        stop_signal: how it is asked to end.
        stop_seconds: from asking to SIGKILL.
        stop_group: whether its process group gets these signals too.
        settle_seconds: how long it must stay up to count as running.
        litter: files it leaves behind when it is killed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    argv: tuple[str, ...]
    folder: Path
    environment: Mapping[str, str] = {}
    stop_signal: Literal["TERM", "INT", "KILL"] = "TERM"
    stop_seconds: int = 20
    stop_group: bool = True
    settle_seconds: int = 1
    litter: tuple[Path, ...] = ()

    @property
    def signal_number(self) -> signal.Signals:
        """The stop signal as a number."""
        return signal.Signals[f"SIG{self.stop_signal}"]


def base_environment() -> dict[str, str]:
    """What every server may know of the caller's environment."""
    return {name: value for name, value in os.environ.items() if name in KEPT_VARIABLES}
