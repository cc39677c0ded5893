"""How long the event loop lets others wait while something goes on."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Pauses:
    """The longest time in which nothing else was served, and how long all of it took."""

    longest = 0.0
    seconds = 0.0

    async def watch(self) -> None:
        """Ask for a turn again and again."""
        while True:
            begin = time.monotonic()
            await asyncio.sleep(0.002)
            self.longest = max(self.longest, time.monotonic() - begin)


@contextmanager
def watched() -> Iterator[Pauses]:
    """Watch this event loop inside the block."""
    pauses = Pauses()
    watch = asyncio.ensure_future(pauses.watch())
    begin = time.monotonic()
    try:
        yield pauses
    finally:
        pauses.seconds = time.monotonic() - begin
        watch.cancel()
