"""What the roles have in common: they wait for the database, and pause in a way that their end interrupts."""

import asyncio

import structlog

from contracts.pulse import Pulse
from control_plane.database import Database
from control_plane.errors import Unavailable

log = structlog.get_logger()


async def connected(database: Database, stop: asyncio.Event, pulse: Pulse, role: str) -> None:
    """Wait for the database, or for `stop`. A schema that this version does not know ends the role."""
    while not stop.is_set():
        pulse.beat(role)
        try:
            await database.open()
        except Unavailable as error:
            log.warning("waiting for the database", error=str(error))
            await pause(1, stop)
        else:
            return


async def pause(seconds: float, *ends: asyncio.Event) -> None:
    """Wait for so long, or until one of the events is set."""
    waits = [asyncio.ensure_future(event.wait()) for event in ends]
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waits:
            each.cancel()
