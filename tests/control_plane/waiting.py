"""Waiting for a condition, never for a time."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
PAUSE = 0.02  # seconds: short enough to see a state that passes


async def eventually(look: Callable[[], Awaitable[T]], seconds: float = 20, what: str = "it", pause: float = PAUSE) -> T:
    """The first true thing that `look` returns; fails with the last thing it saw."""
    until = time.monotonic() + seconds
    while not (seen := await look()):
        assert time.monotonic() < until, f"{what} did not come within {seconds} s; last seen: {seen!r}"
        await asyncio.sleep(pause)
    return seen
