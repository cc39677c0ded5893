"""Pauses that the end of the work cuts short."""

import asyncio


async def pause(stop: asyncio.Event, seconds: float) -> bool:
    """Wait for so long; whether it was stopped meanwhile."""
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return False
    return True
