"""Waiting until what a command needs is there: for the start of an installation, when everything starts at once."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from control_plane.broker import BrokerUnavailable, check_broker
from control_plane.database import Database, reachable
from control_plane.errors import ControlPlaneError, StorageUnavailable, Unavailable, UnknownSchema
from control_plane.need import Need
from control_plane.settings import DatabaseSettings, KafkaSettings, StorageSettings
from control_plane.storage import Storage

log = structlog.get_logger()
_PAUSE_SECONDS = 1.0
_PASSING = (Unavailable, UnknownSchema, BrokerUnavailable, StorageUnavailable)


async def wait_for(need: Need, seconds: float) -> None:
    """Return as soon as it is there. Raises `ControlPlaneError`, with what it said last, when it is not there in time."""
    check = _check(need)
    until = time.monotonic() + seconds
    while True:
        try:
            await check()
        except _PASSING as error:
            if time.monotonic() > until:
                raise ControlPlaneError(f"the {need} was waited for {seconds:g} s in vain: {error}") from error
            log.info("waiting", need=need.value, error=str(error))
            await asyncio.sleep(_PAUSE_SECONDS)
        else:
            return


def _check(need: Need) -> Callable[[], Awaitable[None]]:
    match need:
        case Need.DATABASE:
            url = DatabaseSettings().database_url
            return lambda: reachable(url)
        case Need.SCHEMA:
            database = DatabaseSettings()
            return lambda: _schema(database)
        case Need.BROKER:
            kafka = KafkaSettings()
            return lambda: asyncio.to_thread(check_broker, kafka)
        case Need.STORAGE:
            storage = Storage(StorageSettings())
            return lambda: asyncio.to_thread(storage.ping)


async def _schema(settings: DatabaseSettings) -> None:
    database = Database(settings)
    try:
        await database.open()
    finally:
        await database.close()
