"""An upload that ends whoever reads it, before an API that runs as it does in production."""

from collections.abc import AsyncIterator

import httpx
import psutil
import pytest
import pytest_asyncio

from stratum.local.ports import choose_port
from tests.control_plane.caller import Caller
from tests.control_plane.commands import Command
from tests.control_plane.hostile import ENDS_ITS_READER
from tests.control_plane.installation import Installation
from tests.control_plane.test_footer_readers import processes
from tests.control_plane.waiting import eventually


@pytest_asyncio.fixture(loop_scope="session")
async def port(still: Installation) -> int:
    return choose_port(set())


@pytest_asyncio.fixture(loop_scope="session")
async def api(still: Installation, port: int) -> AsyncIterator[Command]:
    command = Command(still.but(http_port=port), "api")
    yield command
    if command.is_up:
        command.kill()
        await command.ended()


@pytest_asyncio.fixture(loop_scope="session")
async def admin(still: Installation, api: Command, port: int) -> AsyncIterator[Caller]:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:

        async def up() -> bool:
            try:
                return (await client.get("/readyz")).status_code == 200
            except httpx.TransportError:
                return False

        await eventually(up, 60, "the API")
        yield await still.tenant(client)


@pytest.mark.parametrize("end", ["kill", "terminate"])
async def test_it_is_refused_the_api_goes_on_and_leaves_no_reader(end: str, admin: Caller, api: Command) -> None:
    assert processes(api.pid) == [], "none before the first seal"
    upload = await admin.begin_upload("source", ENDS_ITS_READER)
    refused = await admin.post(f"{upload['path']}/seal")
    assert (refused.status_code, refused.json()["type"]) == (422, "urn:stratum:problem:invalid")
    assert refused.json()["detail"] == "part-00000.parquet cannot be read: reading its footer ended the reader"
    assert (await admin.get("/v1/entities")).status_code == 200
    assert (await admin.ingest())["rows"] == 4
    readers = [psutil.Process(pid) for pid in processes(api.pid)]
    assert len(readers) == 1
    getattr(api, end)()
    _, log = await api.ended()
    assert psutil.wait_procs(readers, timeout=20)[1] == []
    assert "Definition level histogram size mismatch" in log, "what the reader said at its end"
