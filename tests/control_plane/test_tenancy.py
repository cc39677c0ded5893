"""Tenants do not see each other; roles and keys are held to."""

import asyncpg
import httpx
import pytest

from contracts.identifiers import new_id
from tests.control_plane.caller import ENTITY, VERSION, Caller, announced, condition
from tests.control_plane.installation import Installation
from tests.control_plane.steps import Steps

UPLOADS = f"/v1/entities/{ENTITY}/versions/{VERSION}/datasets/other/uploads"
PROCESS = {"entity_id": ENTITY, "data_version": VERSION, "action": "filter", "parameters": condition(1)}
FILES = {"files": [announced("a.parquet", b"x")]}


async def test_another_tenant_sees_nothing(steps: Steps, acme: Caller, platform: Installation, client: httpx.AsyncClient) -> None:
    driver = await steps.succeeded(1)
    upload = await acme.begin_upload("open")
    process = f"/v1/processes/{driver.command.process_id}"
    stranger = await platform.tenant(client)
    for method, path in (
        ("GET", process), ("GET", f"{process}/events"), ("GET", f"{process}/logs"), ("POST", f"{process}/cancel"),
        ("POST", f"{process}/retry"),
        ("GET", f"/v1/entities/{ENTITY}/versions"), ("GET", f"/v1/entities/{ENTITY}/versions/{VERSION}/datasets/source"),
        ("POST", f"{upload['path']}/seal"),
    ):  # fmt: skip
        assert (await acme.request(method, path)).status_code != 404, path
        answer = await stranger.request(method, path)
        assert (answer.status_code, answer.json()["type"]) == (404, "urn:stratum:problem:not-found"), path
        assert not answer.json().get("suggestions"), "not even by a suggestion"
    assert (await stranger.ok("GET", "/v1/processes"))["items"] == []
    assert (await stranger.ok("GET", "/v1/entities"))["items"] == []
    unknown = await stranger.post("/v1/processes", PROCESS)
    assert (unknown.status_code, unknown.json().get("suggestions")) == (404, None)


async def test_the_same_names_are_other_data(steps: Steps, acme: Caller, platform: Installation, client: httpx.AsyncClient) -> None:
    other = await platform.tenant(client)
    await other.ingest()
    mine, theirs = await acme.run(1), await other.run(1)
    assert (mine.status_code, theirs.status_code) == (202, 202)
    assert mine.json()["id"] != theirs.json()["id"]
    command = await steps.launcher.command(theirs.json()["id"])
    assert (command.tenant, command.storage_root + "/") == (other.tenant, other.root)
    drivers = [steps.driver(await steps.launcher.command(answer.json()["id"])) for answer in (mine, theirs)]
    for driver in drivers:
        await driver.complete()
    done = [await caller.until(answer.json()["id"], "succeeded") for caller, answer in ((acme, mine), (other, theirs))]
    assert [d["artifacts"][0]["location"].startswith(caller.root) for d, caller in zip(done, (acme, other), strict=True)] == [True, True]


@pytest.mark.parametrize("role", ["viewer", "operator"])
async def test_roles(role: str, steps: Steps, acme: Caller, platform: Installation, client: httpx.AsyncClient) -> None:
    command = await steps.queued(1)
    process = f"/v1/processes/{command.process_id}"
    caller = await platform.tenant(client, acme.tenant, role=role)
    for path in ("/v1/processes", process, f"{process}/events", "/v1/entities", "/v1/actions", f"/v1/entities/{ENTITY}/versions"):
        assert (await caller.get(path)).status_code == 200, path
    for path, body in (
        ("/v1/processes", PROCESS), (f"{process}/cancel", None), (f"{process}/retry", None), (UPLOADS, FILES),
        (f"{UPLOADS}/{new_id()}/seal", None),
    ):  # fmt: skip
        answer = await caller.post(path, body)
        assert (answer.status_code == 403) is (role == "viewer"), (path, answer.text)
        if role == "viewer":
            assert answer.json()["type"] == "urn:stratum:problem:forbidden"
    assert (await acme.process(str(command.process_id)))["state"] == ("queued" if role == "viewer" else "cancelling")


async def test_no_key_no_answer(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    asked = 0
    for path, methods in document["paths"].items():
        if not path.startswith("/v1/") or path in ("/v1/time", "/v1/processes/callback"):
            continue
        path = path.replace("{process_id}", str(new_id())).replace("{upload_id}", str(new_id())).replace("{key_id}", str(new_id()))
        path = path.replace("{entity_id}", "e").replace("{data_version}", "v").replace("{dataset}", "d")
        for method in methods:
            body = FILES if path.endswith("uploads") else PROCESS
            for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic YTpi"}):
                answer = await client.request(method, path, json=body, headers=headers)
                assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer"), (method, path)
                assert answer.json()["type"] == "urn:stratum:problem:unauthenticated"
                asked += 1
    assert asked >= 36


async def test_keys_end(bare: Caller, sql: asyncpg.Connection) -> None:
    assert (await bare.get("/v1/processes")).status_code == 200
    await sql.execute("UPDATE api_keys SET expires_at = clock_timestamp() WHERE tenant = $1", bare.tenant)
    expired = await bare.get("/v1/processes")
    assert (expired.status_code, expired.json()["detail"]) == (401, "The API key is unknown, expired or revoked.")
    await sql.execute("UPDATE api_keys SET expires_at = clock_timestamp() + interval '1 hour' WHERE tenant = $1", bare.tenant)
    assert (await bare.get("/v1/processes")).status_code == 200
    await sql.execute("UPDATE api_keys SET revoked_at = clock_timestamp() WHERE tenant = $1", bare.tenant)
    assert (await bare.get("/v1/processes")).status_code == 401


async def test_keys_are_stored_hashed(bare: Caller, sql: asyncpg.Connection) -> None:
    row = await sql.fetchrow("SELECT k::text AS whole FROM api_keys k WHERE tenant = $1", bare.tenant)
    assert bare.key not in row["whole"]


async def test_every_row_has_its_tenant(platform: Installation, sql: asyncpg.Connection) -> None:
    tables = await sql.fetch(
        "SELECT table_name FROM information_schema.tables t WHERE table_schema = 'public' AND table_type = 'BASE TABLE' AND NOT EXISTS ("
        "SELECT FROM information_schema.columns c WHERE c.table_name = t.table_name AND column_name = 'tenant' AND is_nullable = 'NO')"
    )
    assert {row["table_name"] for row in tables} == {"alembic_version", "tenants", "observations", "sweeps"}
