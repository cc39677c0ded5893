"""The client that commands use."""

import sys
from typing import TYPE_CHECKING

from stratum.cli.output import duration, progress_console

if TYPE_CHECKING:
    from stamina.instrumentation import RetryDetails

    from stratum.client import Client

RETRY_SECONDS = 10.0
"""A person waits less patiently than a program; while a process is awaited, outages of up to two minutes are bridged anyway."""


def connect(*, aloud: bool = False) -> "Client":
    """A client of the platform that the environment names, else of the local one.

    `aloud`: what is tried again is said also where no person looks on; for commands that may try for minutes.
    """
    from stamina.instrumentation import set_on_retry_hooks

    from stratum.client import Client

    set_on_retry_hooks([_tell_aloud if aloud else _tell])  # the default one logs, to where only results belong
    return Client(retry_seconds=RETRY_SECONDS)


def _tell(details: "RetryDetails") -> None:
    progress_console().print(_words(details), style="yellow")


def _tell_aloud(details: "RetryDetails") -> None:
    if sys.stderr.isatty():
        _tell(details)
    else:
        sys.stderr.write(f"{_words(details)}\n")
        sys.stderr.flush()


def _words(details: "RetryDetails") -> str:
    message = str(details.caused_by).partition("\n")[0]
    return f"{message} Trying again in {duration(details.wait_for)}."
