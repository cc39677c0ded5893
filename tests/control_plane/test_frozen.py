"""A database that does not answer: frozen, or silent just when it was asked to commit. Callers are told soon, and the truth."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from control_plane import migration
from control_plane.database import Database
from control_plane.errors import Unavailable
from tests.control_plane.installation import Installation
from tests.control_plane.servers import Postgres
from tests.services import Services

pytestmark = pytest.mark.security


@contextmanager
def frozen(server: Postgres) -> Iterator[None]:
    """SIGSTOP of the server and its backends inside the block."""
    assert server.process is not None
    family = [server.process, *server.process.children(recursive=True)]
    for process in family:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in family:
            if process.is_running():
                process.send_signal(signal.SIGCONT)


async def test_a_frozen_database_is_told_of_within_five_seconds(tmp_path: Path, services: Services, signing_key_file: str) -> None:
    server = Postgres(tmp_path)
    with server.running():
        await migration.migrate(server.url)
        installation = Installation(
            server.url, services.kafka_bootstrap, services.s3_endpoint, services.s3_access_key, services.s3_secret_key,
            f"test-{server.service.port}", signing_key_file,
        )  # fmt: skip
        async with installation.api() as client:
            caller = await installation.tenant(client)
            assert (await caller.get("/v1/processes")).status_code == 200
            with frozen(server):
                for path in ("/v1/processes", "/v1/time", "/readyz"):
                    begin = time.monotonic()
                    answer = await caller.get(path)
                    assert (answer.status_code, time.monotonic() - begin < 5) == (503, True), path
                begin = time.monotonic()
                many = await asyncio.gather(*(caller.get("/v1/processes") for _ in range(50)))
                assert time.monotonic() - begin < 8
                assert {answer.status_code for answer in many} == {503}
            assert (await caller.get("/v1/processes")).status_code == 200, "it goes on as soon as the database does"


class Cut:
    """A way to the database on which the next COMMIT, once `armed`, is forwarded or not, and never answered."""

    def __init__(self, url: str, *, forwarded: bool) -> None:
        parts = urlsplit(url)
        self._to = (parts.hostname or "", parts.port or 5432)
        self._forwarded = forwarded
        self.armed = False
        self.cuts = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection(*self._to)
        back = asyncio.create_task(self._pass(from_server, writer))
        try:
            while data := await reader.read(65536):
                if self.armed and b"COMMIT" in data:
                    self.armed, self.cuts = False, self.cuts + 1
                    back.cancel()
                    await asyncio.wait([back])
                    if self._forwarded:
                        to_server.write(data)
                        await from_server.read(65536)  # it is done, and nobody hears of it
                    break
                to_server.write(data)
        except ConnectionError:
            pass  # the API ended it
        finally:
            back.cancel()
            await asyncio.wait([back])
            to_server.close()
            writer.close()

    @staticmethod
    async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)


@asynccontextmanager
async def cutting(installation: Installation, *, forwarded: bool) -> AsyncIterator[tuple[Installation, Cut]]:
    """The same installation over a way that can be cut."""
    cut = Cut(installation.database_url, forwarded=forwarded)
    server = await asyncio.start_server(cut.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    parts = urlsplit(installation.database_url)
    place = parts.netloc.rpartition("@")[0] + f"@127.0.0.1:{port}"
    url = parts._replace(netloc=place).geturl()
    url += ("&" if parts.query else "?") + "sslmode=disable"
    try:
        yield Installation(**{**installation.__dict__, "database_url": url}), cut
    finally:
        server.close()


@pytest.mark.parametrize("forwarded", [True, False])
async def test_a_commit_without_an_answer_may_have_happened_and_can_be_sent_again(forwarded: bool, still: Installation) -> None:
    async with cutting(still, forwarded=forwarded) as (installation, cut), installation.api() as client, still.sql() as sql:
        caller = await installation.tenant(client)
        await caller.ingest()
        cut.armed = True
        answer = await caller.run(1)
        assert (cut.cuts, answer.status_code, answer.json()["type"]) == (1, 503, "urn:stratum:problem:outcome-unknown"), answer.text
        assert "nothing was changed" not in answer.json()["detail"]
        assert answer.headers["Retry-After"] == "2"
        stored = await sql.fetchval("SELECT count(*) FROM processes")
        assert stored == int(forwarded)
        again = await caller.run(1)
        assert again.status_code == (200 if forwarded else 202), again.text
        assert await sql.fetchval("SELECT count(*) FROM processes") == 1
        cut.armed = True
        read = await caller.get("/v1/processes")
        assert (read.status_code, read.json()["type"]) == (503, "urn:stratum:problem:unavailable")
        assert "nothing was changed" in read.json()["detail"], "a read changes nothing, whatever became of its COMMIT"


async def test_a_connection_that_breaks_after_the_commit_takes_nothing_back(still: Installation) -> None:
    database = Database(still.api_settings)
    try:
        async with database.connection() as connection:
            await connection.execute("CREATE TABLE kept (n integer)")
        with pytest.raises(Unavailable, match="nothing was changed"):  # noqa: PT012 - the block is what is tested
            async with database.transaction() as connection:
                await connection.execute("INSERT INTO kept VALUES (1)")
                connection.terminate()
        async with database.connection() as connection:
            await connection.execute("INSERT INTO kept VALUES (2)")
            connection.terminate()  # its tidying up fails
        async with database.connection() as connection:
            assert [row["n"] for row in await connection.fetch("SELECT n FROM kept")] == [2]
    finally:
        await database.close()
