"""A manifest is put within the time for which everybody else leaves its name alone, or by a later try."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from control_plane import seal
from control_plane.errors import StorageUnavailable
from control_plane.storage import Storage
from tests.control_plane.caller import BUCKET, ENTITY, VERSION
from tests.control_plane.direct import directly
from tests.control_plane.installation import Installation

LATE = -1.0
"""Seconds after its mark that a try has, in a sealer that everything happens to too late."""


async def test_an_upload_whose_seal_was_held_up_is_sealed_by_the_next_try(still: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    source = f"/v1/entities/{ENTITY}/versions/{VERSION}/datasets/source"
    async with still.api() as client:
        caller = await still.tenant(client)
        upload = await caller.begin_upload()
        with monkeypatch.context() as held_up:
            held_up.setattr(seal, "LAST_PUT_SECONDS", LATE, raising=False)
            assert (await caller.post(f"{upload['path']}/seal")).status_code == 503
        keys = [item.key for item in still.storage.list(BUCKET, caller.root.removeprefix(f"s3://{BUCKET}/"))]
        assert not [key for key in keys if key.endswith("_manifest.json")]
        assert (await caller.post(f"{upload['path']}/seal")).status_code == 200
        assert (await caller.get(source)).status_code == 200


async def test_an_attempt_whose_seal_was_held_up_is_sealed_by_the_next_try(still: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    async with directly(still) as direct:
        driver = await direct.driver(await direct.command()).started()
        assert (await driver.finished(await driver.make())).status_code == 200
        with monkeypatch.context() as held_up:
            held_up.setattr(seal, "LAST_PUT_SECONDS", LATE, raising=False)
            with pytest.raises(StorageUnavailable, match="in time"):
                await direct.seal()
        process = await direct.caller.process(str(driver.command.process_id))
        assert (process["state"], driver.manifest()) == ("sealing", None)
        await direct.sql("UPDATE attempts SET seal_lease_until = NULL")
        assert await direct.seal()
        assert (await direct.caller.process(str(driver.command.process_id)))["state"] == "succeeded"


class Slow:
    """A store that takes the beginning of a request, and the rest when it is told to. `complete`: it was sent all of a body."""

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.complete: list[bool] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                self._take(connection)

    def _take(self, connection: socket.socket) -> None:
        received = b""
        while b"\r\n\r\n" not in received:
            received += connection.recv(1000)
        head, _, rest = received.partition(b"\r\n\r\n")
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.begun.set()
        self.go_on.wait()
        left = int(head.lower().partition(b"content-length:")[2].split()[0]) - len(rest)
        while left > 0 and (piece := connection.recv(1 << 20)):
            left -= len(piece)
        self.complete.append(left == 0)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") if left == 0 else None

    def close(self) -> None:
        self.go_on.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


@pytest.fixture
def slow() -> Iterator[Slow]:
    store = Slow()
    yield store
    store.close()


async def test_a_request_that_has_begun_ends_with_its_time_too(still: Installation, slow: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    """Time-outs of a connection are for each piece of it; a store that takes one after another is given no more when time is up."""
    now = 100.0
    monkeypatch.setattr("control_plane.storage.time", SimpleNamespace(monotonic=lambda: now))
    storage = Storage(still.reconcile_settings.model_copy(update={"s3_endpoint": slow.url}))
    putting = asyncio.ensure_future(asyncio.to_thread(storage.put_new, BUCKET, "key", b" " * (32 << 20), until=101.0))
    await asyncio.to_thread(slow.begun.wait)
    now = 102.0
    slow.go_on.set()
    with pytest.raises(StorageUnavailable):
        await putting
    assert slow.complete == [False], "and nothing was begun anew"
