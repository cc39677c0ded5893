"""The client that commands use."""

from typing import TYPE_CHECKING

from stratum.cli.output import duration, progress_console

if TYPE_CHECKING:
    from stamina.instrumentation import RetryDetails

    from stratum.client import Client

RETRY_SECONDS = 10.0
"""A person waits less patiently than a program; while a process is awaited, outages of up to two minutes are bridged anyway."""


def connect() -> "Client":
    """A client of the platform that the environment names, else of the local one."""
    from stamina.instrumentation import set_on_retry_hooks

    from stratum.client import Client

    set_on_retry_hooks([_tell])  # the default one logs, to where only results belong
    return Client(retry_seconds=RETRY_SECONDS)


def _tell(details: "RetryDetails") -> None:
    message = str(details.caused_by).partition("\n")[0]
    progress_console().print(f"{message} Trying again in {duration(details.wait_for)}.", style="yellow")
