"""Presigned URLs in any number, made beside the event loop."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from control_plane.storage import Storage

_CHUNK = 100
K = TypeVar("K")
T = TypeVar("T")


class Presigner:
    """Signs in one thread: it is work for the processor alone, so that more threads would be no faster and leave the event loop less.

    The URLs of one call are signed chunk by chunk: who needs one URL waits for a chunk of another's thousands, not for all of them.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._thread = ThreadPoolExecutor(1, "presign")

    async def gets(self, bucket: str, keys: Iterable[str], seconds: int) -> list[str]:
        """A URL that reads it, for each object."""
        return await self._each(lambda key: self._storage.presigned_get(bucket, key, seconds), keys)

    async def puts(self, bucket: str, objects: Iterable[tuple[str, int]], seconds: int) -> list[tuple[str, dict[str, str]]]:
        """A URL that creates it, for each object of this key and size in bytes, and the headers that must go with it."""
        return await self._each(lambda each: self._storage.presigned_put(bucket, *each, seconds), objects)

    def close(self) -> None:
        """Sign no more."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _each(self, sign: Callable[[K], T], objects: Iterable[K]) -> list[T]:
        loop = asyncio.get_running_loop()
        signed: list[T] = []
        for chunk in _chunks(list(objects)):
            signed += await loop.run_in_executor(self._thread, _all, sign, chunk)
        return signed


def _chunks(objects: list[K]) -> Iterator[list[K]]:
    for begin in range(0, len(objects), _CHUNK):
        yield objects[begin : begin + _CHUNK]


def _all(sign: Callable[[K], T], objects: list[K]) -> list[T]:
    return [sign(each) for each in objects]
