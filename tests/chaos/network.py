"""All wires of a test, in one thread of their own, so that neither the test nor the parts can hold them up."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from tests.chaos.wire import Wire


class Network:
    """Wires by name, in a thread of their own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="network", daemon=True)
        self.wires: dict[str, Wire] = {}

    @classmethod
    @contextmanager
    def running(cls) -> "Iterator[Network]":
        """A network that is there inside the block."""
        network = cls()
        network._thread.start()
        try:
            yield network
        finally:
            network._end()

    def wire(self, name: str, address: str, *, kafka: bool = False) -> Wire:
        """A new way to the server at `address`, which is `host:port` or a URL."""
        parts = urlsplit(address if "//" in address else f"//{address}")
        assert parts.hostname is not None
        assert parts.port is not None
        wire = Wire(name, (parts.hostname, parts.port), kafka, self._loop)
        asyncio.run_coroutine_threadsafe(wire.open(), self._loop).result(10)
        self.wires[name] = wire
        return wire

    def heal(self) -> None:
        """All wires as new."""
        for wire in self.wires.values():
            wire.heal()

    def forget(self) -> None:
        """All wires count from here on."""
        for wire in self.wires.values():
            wire.forget()

    def _end(self) -> None:
        async def close() -> None:
            for wire in self.wires.values():
                await wire.close()
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(close(), self._loop).result(20)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
