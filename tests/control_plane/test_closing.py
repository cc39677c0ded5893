"""A tenant is closed: its keys end, its work and its data stay. And where its data lies never changes."""

import json
from pathlib import Path

import httpx

from tests.control_plane.caller import BUCKET, Caller
from tests.control_plane.commands import run
from tests.control_plane.installation import Installation


async def test_no_key_is_good_any_more(still: Installation) -> None:
    async with still.api() as client:
        caller, other = await still.tenant(client), await still.tenant(client)
        second = await still.tenant(client, caller.tenant, role="viewer")
        code, output = await run(still, "close-tenant", "--tenant", caller.tenant)
        assert code == 0, output
        assert json.loads(output.splitlines()[-1]) == {"tenant": caller.tenant, "unfinished": 0, "keys_ended": 2}
        assert [await _status(client, each) for each in (caller, second, other)] == [401, 401, 200]
        code, output = await run(still, "close-tenant", "--tenant", caller.tenant)
        assert (code, json.loads(output.splitlines()[-1])["keys_ended"]) == (0, 0), "again: nothing is left to do"
    assert (await run(still, "close-tenant", "--tenant", "nobody"))[0] == 0


async def test_it_is_refused_while_processes_have_not_ended(still: Installation) -> None:
    async with still.api() as client:
        caller = await still.tenant(client)
        await caller.ingest()
        process = (await caller.run(1)).json()["id"]
        code, output = await run(still, "close-tenant", "--tenant", caller.tenant)
        assert (code, json.loads(output.splitlines()[-1])) == (4, {"tenant": caller.tenant, "unfinished": 1, "keys_ended": None})
        assert await _status(client, caller) == 200, "nothing was changed"
        code, output = await run(still, "close-tenant", "--tenant", caller.tenant, "--force")
        assert (code, json.loads(output.splitlines()[-1])["keys_ended"]) == (0, 1)
        assert await _status(client, caller) == 401
    async with still.sql() as sql:
        assert await sql.fetchval("SELECT state FROM processes WHERE id = $1", process) == "accepted", "nothing is cancelled"


async def test_storage_does_not_move(still: Installation, tmp_path: Path) -> None:
    async with still.api() as client:
        caller = await still.tenant(client)
    prefix = f"{still.topic_prefix}/{caller.tenant}/"
    there = ("--tenant", caller.tenant, "--bucket", BUCKET)
    assert (await run(still, "check-tenant", *there, "--prefix", prefix))[0] == 0
    code, output = await run(still, "check-tenant", *there, "--prefix", "elsewhere/")
    assert (code, "a tenant's storage does not move" in output) == (1, True)
    code, output = await run(still, "check-tenant", "--tenant", "another", "--bucket", BUCKET, "--prefix", f"{prefix}inside/")
    assert (code, f"the storage of tenant '{caller.tenant}' lie inside one another" in output) == (1, True)
    key = tmp_path / "key"
    key.write_text("k" * 24)
    code, output = await run(still, "provision", *there, "--prefix", "elsewhere/", "--api-key-file", str(key))
    assert (code, "a tenant's storage does not move" in output) == (1, True)


async def _status(client: httpx.AsyncClient, caller: Caller) -> int:
    return (await client.get("/v1/processes", headers={"Authorization": f"Bearer {caller.key}"})).status_code
