"""The client that commands use."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stratum.client import Client

RETRY_SECONDS = 10.0
"""A person waits less patiently than a program; while a process is awaited, outages of up to two minutes are bridged anyway."""


def connect() -> "Client":
    """A client of the platform that the environment names, else of the local one."""
    from stratum.client import Client

    return Client(retry_seconds=RETRY_SECONDS)
