"""The API as a process of its own behind a real socket, and raw bytes to send to it."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from stratum.local.ports import choose_port
from tests.control_plane.commands import Command
from tests.control_plane.installation import Installation
from tests.control_plane.waiting import eventually


@dataclass
class Answer:
    """What came back on a raw connection until its end."""

    raw: bytes
    seconds: float

    @property
    def status(self) -> int:
        return int(self.raw.split(b" ", 2)[1])

    @property
    def headers(self) -> dict[str, str]:
        lines = self.raw.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
        return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}

    @property
    def problem(self) -> dict[str, Any]:
        assert self.headers["content-type"] == "application/problem+json", self.raw
        body: dict[str, Any] = json.loads(self.raw.partition(b"\r\n\r\n")[2])
        assert (body["status"], bool(body["detail"])) == (self.status, True)
        return body


@dataclass
class Served:
    """A running API."""

    command: Command
    port: int
    client: httpx.AsyncClient

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def raw(self, *pieces: bytes, pause: float = 0) -> Answer:
        """Send the pieces, as far as they are taken, and read until the other side closes."""
        reader, writer = await self.connect()
        begin = time.monotonic()
        reading = asyncio.create_task(reader.read())
        try:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                if pause and (await asyncio.wait([reading], timeout=pause))[0]:
                    break
        except ConnectionError:
            pass  # it was refused before all was sent: what it said is read all the same
        try:
            raw = await asyncio.wait_for(reading, 30)
        finally:
            writer.close()
        return Answer(raw, time.monotonic() - begin)


@asynccontextmanager
async def served(installation: Installation, **settings: object) -> AsyncIterator[Served]:
    """The API with these settings, until the block ends."""
    port = choose_port(set())
    changes = {f"STRATUM_{name.upper()}": str(value) for name, value in settings.items()}
    command = Command(installation, "api", STRATUM_HTTP_PORT=str(port), **changes)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        try:
            await eventually(lambda: _answers(client), 60, "the API")
            yield Served(command, port, client)
        finally:
            if command.is_up:
                command.terminate()
                await command.ended()


async def _answers(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/healthz")).status_code == 200
    except httpx.TransportError:
        return False
