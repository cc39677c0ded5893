"""The load of `benchmarks/accept_load.py`, small enough for a test."""

import asyncio
import time
from pathlib import Path

import pytest

from benchmarks.accept_load import accepted_load, bare_load, measured, offer, prepare, requests
from tests.e2e.platform import running_platform
from tests.figures import report


@pytest.mark.slow
def test_every_202_is_there_once_though_database_and_broker_died(tmp_path: Path) -> None:
    with running_platform(tmp_path / "home") as platform:
        prepare(platform, tmp_path)
        load = measured(accepted_load, platform, 100, 15)
        assert load.statuses["no answer"] + load.statuses["503"] > 0, "nobody noticed that the database was killed"
        bare = measured(bare_load, platform, 2000, 1)
    report("accepted while PostgreSQL and Kafka were killed", f"{load}")
    report("the bare handler", f"{bare}")


async def test_what_is_refused_or_not_answered_is_sent_again() -> None:
    """The first request is refused, the second loses its connection; both come again, and a refused one not before its time."""
    came: list[tuple[float, bytes]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                break
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            came.append((time.monotonic(), await reader.readexactly(length)))
            if len(came) == 2:
                break
            status = b"503 Service Unavailable\r\nRetry-After: 1" if len(came) == 1 else b"202 Accepted"
            writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        load = await offer(url, "token", 100, requests(20), {202})
    assert sorted(load.bodies) == list(range(20))
    assert load.statuses == {"202": 20, "503": 1, "no answer": 1}
    again = [at for at, body in came if body == came[0][1]]
    assert len(again) == 2
    assert again[1] - again[0] >= 1
    assert {body for _, body in came} == {body for _, body in requests(20)}
