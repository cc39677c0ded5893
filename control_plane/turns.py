"""Turns: so many at once, so many of one key, and the keys one after another; who finds no room to wait is told so at once."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from weakref import WeakValueDictionary

from control_plane.errors import Busy


@dataclass(frozen=True, slots=True)
class Room:
    """How much may be there, at work and waiting; whoever comes first is taken, however much he brings. `refusal` is for the others."""

    of_one: int
    of_all: int
    refusal: str


class Turns:
    """Gives turns to keys. A key's next waits for its own before it waits for others', so that the keys go round."""

    def __init__(self, at_once: int, of_one: int, room: Room | None = None) -> None:
        self._room = room
        self._all = asyncio.Semaphore(at_once)
        self._of_one = of_one
        self._of_keys: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()  # of those who have, or want, a turn now
        self._there: Counter[str] = Counter()

    @asynccontextmanager
    async def turn(self, key: str, weight: int = 1, room_of_one: int | None = None) -> AsyncIterator[None]:
        """A turn for `key`, waited for without anything in hand. `room_of_one`: less than others have, for what can best be done without.

        Raises:
            Busy: there is no room to wait for it.
        """
        self._find_room(key, weight, room_of_one)
        self._there[key] += weight
        try:
            of_one = self._of_keys.setdefault(key, asyncio.Semaphore(self._of_one))
            async with of_one, self._all:  # in this order: who waits for his own others takes no turn from anybody
                yield
        finally:
            self._there[key] -= weight
            if not self._there[key]:
                del self._there[key]

    def _find_room(self, key: str, weight: int, room_of_one: int | None) -> None:
        if self._room is None:
            return
        own, everyone = self._there[key], self._there.total()
        most = self._room.of_one if room_of_one is None else room_of_one
        if (own and own + weight > most) or (everyone and everyone + weight > self._room.of_all):
            raise Busy(self._room.refusal, retry_after=1)
