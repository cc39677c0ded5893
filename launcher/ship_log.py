"""The log sidecar: follows the one file that the driver beside it writes, and ships it.

It starts with every run, so it imports only what it needs.
"""

import time
from functools import partial
from pathlib import Path
from threading import Event

import structlog

from launcher.errors import NotNow
from launcher.log_chunks import LogChunks
from launcher.log_file import read_part
from launcher.settings import ShipLogSettings
from launcher.store import s3_client

log = structlog.get_logger()

_ROUND_SECONDS = 2.0
_LONGEST_WAIT_SECONDS = 30.0
_LAST_WAIT_SECONDS = 0.5
"""Between tries once the driver is gone: the grace of the pod is short."""


def ship_log(settings: ShipLogSettings, stop: Event) -> None:
    """Ship until `stop`, which is set once the driver has ended, and then all that is left."""
    bucket, _, prefix = settings.log_prefix.removeprefix("s3://").partition("/")
    s3 = s3_client(settings)
    try:
        follow(settings.log_file, LogChunks(s3, bucket, prefix), stop)
    finally:
        s3.close()


def follow(file: Path, chunks: LogChunks, stop: Event) -> None:
    """Ship what comes, however long the store is away: what waits lies in the file, not in memory.

    A file that is not there belongs to a driver that has not started.
    """

    read = partial(read_part, file)
    wait = _ROUND_SECONDS
    while not chunks.is_complete:
        ended = stop.is_set()  # asked before the file is read: what was written until then is in it
        try:
            chunks.ship(read, ended=ended)
            wait = _ROUND_SECONDS
        except NotNow as reason:
            wait = _LAST_WAIT_SECONDS if ended else min(wait * 2, _LONGEST_WAIT_SECONDS)
            log.warning("the log waits", reason=str(reason), seconds=wait)
        if ended:
            time.sleep(0 if chunks.is_complete else wait)
        else:
            stop.wait(wait)
