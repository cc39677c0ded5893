"""A TCP way between two parts that breaks on demand, and remembers what went through: the evidence that a fault was there.

Every method may be called from any thread: the work is done in the loop that the wire was made for.
"""

import asyncio
import re
import struct
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tests.chaos.traps import Counters, Line, Trap, Verdict, Weather

T = TypeVar("T")
HOST = "127.0.0.1"
_CHUNK = 65_536
_LONGEST_PATTERN = 512


@dataclass(eq=False)
class Wire:
    """A way to one server. Made by `Network.wire`."""

    name: str
    target: tuple[str, int]
    kafka: bool
    loop: asyncio.AbstractEventLoop
    port: int = 0
    counters: Counters = field(default_factory=Counters)
    _weather: Weather = field(default_factory=Weather)
    _lines: set[Line] = field(default_factory=set)
    _traps: list[Trap] = field(default_factory=list)
    _server: asyncio.Server | None = None

    @property
    def address(self) -> str:
        """`host:port` for clients."""
        return f"{HOST}:{self.port}"

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

    def forget(self) -> None:
        """Count from here on."""
        self.counters = Counters()

    @contextmanager
    def leading_to(self, host: str, port: int) -> Iterator[None]:
        """To another server inside the block."""
        usual, self.target = self.target, (host, port)
        self.cut()
        try:
            yield
        finally:
            self.target = usual
            self.cut()

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
        self._weather = Weather()
        self._traps.clear()
        if stuck:
            await self._cut()
        if closed:
            await self.open()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = Line(writer)
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

    async def _forth(self, line: Line, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """From the caller to the server."""
        tail = b""
        while part := await reader.read(_CHUNK):
            seen = tail + part
            trap = next((trap for trap in self._traps if trap.is_armed and trap.pattern.search(seen)), None)
            tail = b"" if trap else seen[-_LONGEST_PATTERN:]
            if trap is not None and not await self._spring(trap, line):
                await _hang_up(reader, writer)
                return
            self.counters.sent += len(part)
            await self._pass_on(line, writer, part, counted=True)
        if line.awaited is None:
            with suppress(OSError):
                writer.write_eof()

    async def _spring(self, trap: Trap, line: Line) -> bool:
        """Whether the bytes are passed on."""
        trap.taken += 1
        if trap.verdict == "lose_answer":
            line.awaited = trap
            return True
        await self._act(trap)
        if trap.answer is not None:
            line.near.write(trap.answer)
            await line.near.drain()
        trap.sprung += 1
        if trap.verdict == "cut":
            self.counters.cut += 1
            line.abort()
        return trap.answer is None and trap.verdict == "pass"

    async def _act(self, trap: Trap) -> None:
        if trap.then is not None:
            await asyncio.to_thread(trap.then)

    async def _back(self, line: Line, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """From the server to the caller."""
        read: Callable[[], Awaitable[bytes]] = (lambda: self._kafka_frame(reader)) if self.kafka else (lambda: reader.read(_CHUNK))
        while part := await read():
            if line.awaited is not None:
                await self._act(line.awaited)
                self.counters.cut += 1
                line.awaited.sprung += 1
                line.abort()
                return
            if self._weather.loses_answers:
                self.counters.swallowed += len(part)
                continue
            self.counters.answered += len(part)
            await self._pass_on(line, writer, part)
        with suppress(OSError):
            writer.write_eof()

    async def _pass_on(self, line: Line, writer: asyncio.StreamWriter, part: bytes, *, counted: bool = False) -> None:
        weather = self._weather
        if weather.swallows:
            self.counters.swallowed += len(part)
            return
        if weather.delay_seconds:
            self.counters.delayed += 1
            await asyncio.sleep(weather.delay_seconds)
        if weather.bytes_per_second:
            await asyncio.sleep(len(part) / weather.bytes_per_second)
        room = len(part)
        if counted and weather.cut_after is not None:
            room = max(weather.cut_after - line.carried, 0)
        writer.write(part[:room])
        await writer.drain()
        if counted:
            line.carried += len(part)
        if room < len(part):
            self.counters.cut += 1
            self.counters.cut_short += room > 0
            line.abort()

    async def _kafka_frame(self, reader: asyncio.StreamReader) -> bytes:
        """One answer of a broker, with this wire's port where it names its own: clients then come back to the wire."""
        try:
            size = await reader.readexactly(4)
            body = await reader.readexactly(int.from_bytes(size))
        except asyncio.IncompleteReadError:
            return b""
        host, port = self.target
        return size + body.replace(host.encode() + struct.pack(">i", port), HOST.encode() + struct.pack(">i", self.port))


async def _hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Leave the server, and let the caller read what it was answered: bytes of its that nobody reads would make the end a reset."""
    writer.transport.abort()
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(5):
            while await reader.read(_CHUNK):
                pass
