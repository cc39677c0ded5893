"""A TCP way between two parts that breaks on demand, and remembers what went through: the evidence that a fault was there.

`Network` runs all its wires in one thread of their own; every method may be called from any thread.
"""

import asyncio
import re
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")
HOST = "127.0.0.1"
_CHUNK = 65_536
_LONGEST_PATTERN = 512

Verdict = Literal["pass", "cut", "lose_answer"]


@dataclass
class Trap:
    """Waits for bytes on their way to the server.

    Once they come, `then` is called while they are held back, and they are passed on (`pass`), lost with their connection (`cut`), or
    passed on so that only the server's answer is lost with the connection (`lose_answer`; `then` is called once the answer is there).
    `answer`: bytes that are sent back in the server's place, before the connection is closed.
    """

    pattern: re.Pattern[bytes]
    verdict: Verdict
    then: Callable[[], None] | None
    answer: bytes | None
    times: int
    sprung: int = 0

    @property
    def is_armed(self) -> bool:
        return self.sprung < self.times


@dataclass
class Counters:
    """What went through a wire."""

    connections: int = 0
    refused: int = 0
    cut: int = 0
    sent: int = 0
    answered: int = 0
    swallowed: int = 0


@dataclass
class _Weather:
    """What the wire does to every connection."""

    refuses: bool = False
    swallows: bool = False
    loses_answers: bool = False
    delay_seconds: float = 0
    bytes_per_second: float = 0
    cut_after: int | None = None


@dataclass(eq=False)
class _Line:
    """One connection: the caller's side and the server's."""

    near: asyncio.StreamWriter
    far: asyncio.StreamWriter | None = None
    carried: int = 0
    awaited: Trap | None = None

    def abort(self) -> None:
        """Reset both sides, whatever is under way."""
        for writer in (self.near, self.far):
            if writer is not None and not writer.transport.is_closing():
                # without a linger of zero it would be a polite end, not a reset
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()


@dataclass(eq=False)
class Wire:
    """A way to one server. Made by `Network.wire`."""

    name: str
    target: tuple[str, int]
    kafka: bool
    loop: asyncio.AbstractEventLoop
    port: int = 0
    counters: Counters = field(default_factory=Counters)
    _weather: _Weather = field(default_factory=_Weather)
    _lines: set[_Line] = field(default_factory=set)
    _traps: list[Trap] = field(default_factory=list)
    _server: asyncio.Server | None = None
    _held: int = 0

    @property
    def address(self) -> str:
        """`host:port` for clients."""
        return f"{HOST}:{self.port}"

    @property
    def is_held(self) -> bool:
        """Whether a trap holds bytes back right now."""
        return self._held > 0

    # -- faults ----------------------------------------------------------------------------------------------------------

    def cut(self) -> None:
        """Reset every connection; new ones are taken."""
        self._do(self._cut())

    def refuse(self) -> None:
        """Reset every connection and take no new one, as when nobody listens."""
        self._do(self._refuse())

    def black_hole(self) -> None:
        """Take everything and pass nothing on, in either direction."""
        self._set(swallows=True)

    def lose_answers(self) -> None:
        """Pass requests on and swallow what comes back."""
        self._set(loses_answers=True)

    def delay(self, seconds: float) -> None:
        """Hold every piece up for so long, in each direction."""
        self._set(delay_seconds=seconds)

    def throttle(self, bytes_per_second: float) -> None:
        """Let no more than this through, each connection and direction for itself."""
        self._set(bytes_per_second=bytes_per_second)

    def cut_after(self, sent: int) -> None:
        """Reset each connection once it has carried so many bytes to the server: in the middle of a message."""
        self._set(cut_after=sent)

    def trap(
        self,
        pattern: str | bytes,
        verdict: Verdict = "pass",
        *,
        then: Callable[[], None] | None = None,
        answer: bytes | None = None,
        times: int = 1,
    ) -> Trap:
        """Wait for bytes that match (a regular expression); see `Trap`."""
        expression = pattern.encode() if isinstance(pattern, str) else pattern
        trap = Trap(re.compile(expression, re.DOTALL), verdict, then, answer, times)
        self._traps.append(trap)
        return trap

    def heal(self) -> None:
        """As new: no fault, no trap. Connections that stuck in a fault are reset."""
        self._do(self._heal())

    # -- inside the loop -------------------------------------------------------------------------------------------------

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(10)

    def _set(self, **values: Any) -> None:
        for name, value in values.items():
            setattr(self._weather, name, value)

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, HOST, self.port, limit=1 << 20)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        await self._cut()

    async def _cut(self) -> None:
        for line in list(self._lines):
            self.counters.cut += 1
            line.abort()

    async def _refuse(self) -> None:
        self._weather.refuses = True
        await self.close()

    async def _heal(self) -> None:
        stuck = self._weather.swallows or self._weather.loses_answers
        closed = self._server is None
        self._weather = _Weather()
        self._traps.clear()
        if stuck:
            await self._cut()
        if closed:
            await self.open()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = _Line(writer)
        self._lines.add(line)
        self.counters.connections += 1
        try:
            far_reader, line.far = await asyncio.open_connection(*self.target, limit=1 << 20)
        except OSError:
            self.counters.refused += 1
            line.abort()
            self._lines.discard(line)
            return
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._forth(line, reader, line.far))
                both.create_task(self._back(line, far_reader, writer))
        except* (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            line.abort()
            self._lines.discard(line)

    async def _forth(self, line: _Line, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """From the caller to the server."""
        tail = b""
        while part := await reader.read(_CHUNK):
            seen = tail + part
            trap = next((trap for trap in self._traps if trap.is_armed and trap.pattern.search(seen)), None)
            tail = b"" if trap else seen[-_LONGEST_PATTERN:]
            if trap is not None and not await self._spring(trap, line):
                return
            self.counters.sent += len(part)
            await self._pass_on(line, writer, part, counted=True)
        if line.awaited is None:
            with suppress(OSError):
                writer.write_eof()

    async def _spring(self, trap: Trap, line: _Line) -> bool:
        """Whether the bytes are passed on."""
        trap.sprung += 1
        if trap.verdict == "lose_answer":
            line.awaited = trap
            return True
        if trap.then is not None:
            self._held += 1
            try:
                await asyncio.to_thread(trap.then)
            finally:
                self._held -= 1
        if trap.answer is not None:
            line.near.write(trap.answer)
            await line.near.drain()
            line.near.write_eof()
            await asyncio.sleep(0.05)  # the answer is read before the reset; a longer wait would only be slower
        if trap.verdict == "cut" or trap.answer is not None:
            self.counters.cut += 1
            line.abort()
            return False
        return True

    async def _back(self, line: _Line, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """From the server to the caller."""
        read: Callable[[], Awaitable[bytes]] = (lambda: self._kafka_frame(reader)) if self.kafka else (lambda: reader.read(_CHUNK))
        while part := await read():
            if line.awaited is not None:
                if line.awaited.then is not None:
                    await asyncio.to_thread(line.awaited.then)
                self.counters.cut += 1
                line.abort()
                return
            if self._weather.loses_answers:
                self.counters.swallowed += len(part)
                continue
            self.counters.answered += len(part)
            await self._pass_on(line, writer, part)
        with suppress(OSError):
            writer.write_eof()

    async def _pass_on(self, line: _Line, writer: asyncio.StreamWriter, part: bytes, *, counted: bool = False) -> None:
        weather = self._weather
        if weather.swallows:
            self.counters.swallowed += len(part)
            return
        if weather.delay_seconds:
            await asyncio.sleep(weather.delay_seconds)
        if weather.bytes_per_second:
            await asyncio.sleep(len(part) / weather.bytes_per_second)
        if counted and weather.cut_after is not None:
            room = weather.cut_after - line.carried
            writer.write(part[: max(room, 0)])
            if room < len(part):
                await writer.drain()
                self.counters.cut += 1
                line.abort()
                return
        else:
            writer.write(part)
        line.carried += len(part)
        await writer.drain()

    async def _kafka_frame(self, reader: asyncio.StreamReader) -> bytes:
        """One answer of a broker, with this wire's port where it names its own: clients then come back to the wire."""
        try:
            size = await reader.readexactly(4)
            body = await reader.readexactly(int.from_bytes(size))
        except asyncio.IncompleteReadError:
            return b""
        host, port = self.target
        return size + body.replace(host.encode() + struct.pack(">i", port), HOST.encode() + struct.pack(">i", self.port))


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


def http_answer(status: int, reason: str, body: bytes = b"", **headers: str) -> bytes:
    """A whole HTTP answer that ends its connection."""
    lines = [f"HTTP/1.1 {status} {reason}", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body
