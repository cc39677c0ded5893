"""API keys as a tenant's admin manages them."""

import asyncio
import re
from uuid import uuid4

import asyncpg
import httpx
import pytest

from contracts.identifiers import new_id
from stratum.local.ports import choose_port
from tests.control_plane.caller import Caller
from tests.control_plane.commands import Command
from tests.control_plane.installation import Installation
from tests.control_plane.waiting import eventually

FORM = re.compile(r"stratum_[A-Za-z0-9]{8}_[A-Za-z0-9_-]{43}")


def holder(caller: Caller, issued: dict[str, str]) -> Caller:
    """A caller with the key that was issued."""
    return Caller(caller.client, caller.tenant, issued["key"], caller.root, caller.installation)


async def made(caller: Caller, role: str = "operator", **fields: object) -> dict[str, str]:
    answer = await caller.post("/v1/keys", {"name": "loader", "role": role, **fields})
    assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store"), answer.text
    return dict(answer.json())


async def listed(caller: Caller) -> dict[str, dict[str, str]]:
    return {item["id"]: item for item in (await caller.ok("GET", "/v1/keys"))["items"]}


async def test_a_key_is_shown_once_and_works(bare: Caller, sql: asyncpg.Connection) -> None:
    issued = await made(bare)
    assert FORM.fullmatch(issued["key"])
    assert issued["prefix"] == issued["key"][:16]
    assert (await holder(bare, issued).get("/v1/processes")).status_code == 200
    found = await listed(bare)
    assert found[issued["id"]].keys() == issued.keys() - {"key"}
    assert (found[issued["id"]]["name"], found[issued["id"]]["role"], found[issued["id"]]["state"]) == ("loader", "operator", "active")
    assert issued["key"] not in (await bare.get("/v1/keys")).text
    stored = await sql.fetchval("SELECT string_agg(k::text, ' ') FROM api_keys k WHERE tenant = $1", bare.tenant)
    assert issued["key"].split("_", 2)[2] not in stored
    first = next(item for item in found.values() if item["id"] != issued["id"])
    assert (first["name"], first["prefix"]) == ("provisioned", bare.key[:8]), "a key of before works on and has a name"


async def test_keys_do_not_repeat(bare: Caller) -> None:
    issued = [await made(bare) for _ in range(5)]
    assert len({one["key"] for one in issued}) == len({one["prefix"] for one in issued}) == 5


@pytest.mark.parametrize(
    "body",
    [
        {"name": "", "role": "viewer"},
        {"name": "a\x00b", "role": "viewer"},
        {"name": "x" * 101, "role": "viewer"},
        {"name": "x", "role": "owner"},
        {"name": "x", "role": "viewer", "expires_in_seconds": 1},
        {"name": "x", "role": "viewer", "expires_in_seconds": 10**12},
        {"name": "x", "role": "viewer", "tenant": "other"},
    ],
)
async def test_what_is_no_key_is_refused(body: dict[str, object], bare: Caller) -> None:
    before = len(await listed(bare))
    assert (await bare.post("/v1/keys", body)).status_code == 422
    assert len(await listed(bare)) == before


async def test_an_expiry(bare: Caller, sql: asyncpg.Connection) -> None:
    issued = await made(bare, expires_in_seconds=3600)
    life = await sql.fetchval("SELECT expires_at - created_at FROM api_keys WHERE id = $1", issued["id"])
    assert 3599 < life.total_seconds() < 3605
    await sql.execute("UPDATE api_keys SET expires_at = clock_timestamp() WHERE id = $1", issued["id"])
    assert (await holder(bare, issued).get("/v1/processes")).status_code == 401
    assert (await listed(bare))[issued["id"]]["state"] == "expired"


async def test_a_rotated_key_is_good_for_its_grace(bare: Caller, sql: asyncpg.Connection) -> None:
    old = await made(bare)
    answer = await bare.post(f"/v1/keys/{old['id']}/rotate", {"grace_seconds": 600})
    assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store")
    new = answer.json()
    assert (new["name"], new["role"], new["expires_at"]) == (old["name"], old["role"], None)
    assert new["key"] != old["key"]
    for issued in (old, new):
        assert (await holder(bare, issued).get("/v1/processes")).status_code == 200
    left = await sql.fetchval("SELECT expires_at - clock_timestamp() FROM api_keys WHERE id = $1", old["id"])
    assert 590 < left.total_seconds() <= 600
    await sql.execute("UPDATE api_keys SET expires_at = expires_at - interval '601 seconds' WHERE id = $1", old["id"])
    assert (await holder(bare, old).get("/v1/processes")).status_code == 401
    assert (await holder(bare, new).get("/v1/processes")).status_code == 200
    again = await bare.post(f"/v1/keys/{old['id']}/rotate", {})
    assert (again.status_code, "The key is expired" in again.json()["detail"]) == (409, True)


async def test_a_grace_never_makes_a_key_live_longer(bare: Caller, sql: asyncpg.Connection) -> None:
    old = await made(bare, expires_in_seconds=120)
    new = await bare.ok("POST", f"/v1/keys/{old['id']}/rotate", {"grace_seconds": 86_400})
    lives = await sql.fetch("SELECT expires_at - created_at AS life FROM api_keys WHERE id = ANY($1::uuid[])", [old["id"], new["id"]])
    assert [115 < row["life"].total_seconds() < 125 for row in lives] == [True, True], (
        "and the new one lives as long as the old was made for"
    )


async def test_a_rotation_whose_answer_was_lost_is_asked_for_again(bare: Caller) -> None:
    old = await made(bare)
    for _ in range(2):
        new = await bare.ok("POST", f"/v1/keys/{old['id']}/rotate", {"grace_seconds": 600})
        assert new["expires_at"] is None, "the grace of the old key is not the life of the new one"


async def test_without_a_grace_the_old_key_ends_at_once(bare: Caller) -> None:
    old = await made(bare)
    await bare.ok("POST", f"/v1/keys/{old['id']}/rotate", {"grace_seconds": 0})
    assert (await holder(bare, old).get("/v1/processes")).status_code == 401


async def test_a_revoked_key_ends_at_once(bare: Caller) -> None:
    issued = await made(bare)
    for _ in range(2):
        revoked = await bare.ok("POST", f"/v1/keys/{issued['id']}/revoke")
        assert (revoked["state"], revoked["revoked_at"] is not None) == ("revoked", True)
    refused = await holder(bare, issued).get("/v1/processes")
    assert (refused.status_code, refused.json()["detail"]) == (401, "The API key is unknown, expired or revoked.")


async def test_the_last_admin_key_stays(bare: Caller, sql: asyncpg.Connection) -> None:
    (own,) = await listed(bare)
    await made(bare, "operator")
    expired, revoked = await made(bare, "admin", expires_in_seconds=60), await made(bare, "admin")
    await sql.execute("UPDATE api_keys SET expires_at = clock_timestamp() WHERE id = $1", expired["id"])
    await bare.ok("POST", f"/v1/keys/{revoked['id']}/revoke")
    answer = await bare.post(f"/v1/keys/{own}/revoke")
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:stratum:problem:conflict")
    assert "last admin key" in answer.json()["detail"]
    assert (await bare.get("/v1/processes")).status_code == 200
    other = await made(bare, "admin")
    await bare.ok("POST", f"/v1/keys/{own}/revoke")
    assert (await holder(bare, other).post(f"/v1/keys/{other['id']}/revoke")).status_code == 409


async def test_two_admins_who_revoke_each_other_leave_one(bare: Caller) -> None:
    for _ in range(5):
        (own,) = [key["id"] for key in (await listed(bare)).values() if key["role"] == "admin" and key["state"] == "active"]
        other = await made(bare, "admin")
        answers = await asyncio.gather(bare.post(f"/v1/keys/{other['id']}/revoke"), holder(bare, other).post(f"/v1/keys/{own}/revoke"))
        # the second is refused as the last, or its own key has just ended
        assert sorted(answer.status_code for answer in answers)[0] == 200
        assert sorted(answer.status_code for answer in answers)[1] in (401, 409)
        bare = bare if (await bare.get("/v1/keys")).status_code == 200 else holder(bare, other)


async def test_keys_of_another_tenant_are_not_there(bare: Caller, platform: Installation, client: httpx.AsyncClient) -> None:
    issued, stranger = await made(bare), await platform.tenant(client)
    for path, body in ((f"/v1/keys/{issued['id']}/rotate", {}), (f"/v1/keys/{issued['id']}/revoke", None)):
        answer = await stranger.post(path, body)
        assert (answer.status_code, answer.json()["type"]) == (404, "urn:stratum:problem:not-found")
    assert issued["id"] not in await listed(stranger)
    assert (await listed(bare))[issued["id"]]["state"] == "active"
    assert (await bare.post(f"/v1/keys/{uuid4()}/revoke")).status_code == 404


async def test_pages(bare: Caller) -> None:
    made_ids = [(await made(bare))["id"] for _ in range(4)]
    seen, cursor = [], ""
    while True:
        page = await bare.ok("GET", f"/v1/keys?limit=2{cursor}")
        seen += [item["id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen[:4] == made_ids[::-1]
    assert len(seen) == len(set(seen)) == 5
    assert (await bare.get("/v1/keys?cursor=nonsense")).status_code == 422


async def test_the_last_use_is_noted_about_once_a_minute(bare: Caller, sql: asyncpg.Connection) -> None:
    issued = await made(bare)
    assert issued["last_used_at"] is None
    user = holder(bare, issued)

    async def noted() -> object:
        return await sql.fetchval("SELECT last_used_at FROM api_keys WHERE id = $1", issued["id"])

    await user.get("/v1/processes")
    first = await eventually(noted, what="the note")
    version = await sql.fetchval("SELECT xmin FROM api_keys WHERE id = $1", issued["id"])
    for _ in range(20):
        assert (await user.get("/v1/processes")).status_code == 200
    assert (await listed(bare))[issued["id"]]["last_used_at"] is not None
    assert (await noted(), await sql.fetchval("SELECT xmin FROM api_keys WHERE id = $1", issued["id"])) == (first, version)


async def test_another_api_does_not_note_again_what_was_noted(bare: Caller, platform: Installation, sql: asyncpg.Connection) -> None:
    issued = await made(bare)
    await sql.execute("UPDATE api_keys SET last_used_at = clock_timestamp() WHERE id = $1", issued["id"])
    version = await sql.fetchval("SELECT xmin FROM api_keys WHERE id = $1", issued["id"])
    async with platform.api() as other:
        assert (await other.get("/v1/processes", headers={"Authorization": f"Bearer {issued['key']}"})).status_code == 200
    assert await sql.fetchval("SELECT xmin FROM api_keys WHERE id = $1", issued["id"]) == version


async def test_a_note_neither_blocks_nor_fails_a_request(bare: Caller, platform: Installation, sql: asyncpg.Connection) -> None:
    locked, broken = await made(bare), await made(bare)
    async with platform.sql() as other, other.transaction():
        await other.execute("SELECT FROM api_keys WHERE id = $1 FOR UPDATE", locked["id"])
        for _ in range(3):
            assert (await asyncio.wait_for(holder(bare, locked).get("/v1/processes"), 10)).status_code == 200
    await sql.execute(
        "CREATE FUNCTION break_note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$;"
        f"CREATE TRIGGER break_note BEFORE UPDATE ON api_keys FOR EACH ROW WHEN (OLD.id = '{broken['id']}') EXECUTE FUNCTION break_note()"
    )
    try:
        assert (await holder(bare, broken).get("/v1/processes")).status_code == 200
    finally:
        await sql.execute("DROP TRIGGER break_note ON api_keys; DROP FUNCTION break_note")


async def test_no_key_is_in_the_log_or_in_an_error(still: Installation) -> None:
    port = choose_port(set())
    api = Command(still.but(http_port=port), "api")
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            keys, errors = await _used_and_misused(still, client)
    finally:
        api.terminate()
        _, log = await api.ended()
    assert all(word in log for word in ("key made", "key replaced", "key revoked"))
    assert {answer.status_code for answer in errors} >= {400, 401, 403, 404, 422}
    for key in keys:
        secret = key[-20:]  # an underscore may be anywhere in it
        assert secret not in log
        assert not any(secret in answer.text for answer in errors), "the value of a wrong field is quoted by no error"


async def _used_and_misused(still: Installation, client: httpx.AsyncClient) -> tuple[list[str], list[httpx.Response]]:
    """Keys, and the errors that requests with them were answered with."""

    async def up() -> bool:
        try:
            return (await client.get("/readyz")).status_code == 200
        except httpx.TransportError:
            return False

    await eventually(up, 60, "the API")
    admin = await still.tenant(client)
    issued = await made(admin)
    rotated = await admin.ok("POST", f"/v1/keys/{issued['id']}/rotate", {"grace_seconds": 0})
    keys = [admin.key, issued["key"], rotated["key"], "stratum_abcdefgh_not-a-key-that-anybody-has"]
    headers = {"Content-Type": "application/json"}
    errors = [
        await admin.post("/v1/keys", {"name": "x", "role": keys[1]}),
        await admin.request("POST", "/v1/keys", content=b"{" + keys[1].encode(), headers=headers),
    ]
    for key in keys:
        user = holder(admin, {"key": key})
        errors += [await user.post("/v1/keys", {}), await user.get(f"/v1/processes/{new_id()}"), await user.post("/v1/processes", {})]
    await admin.ok("POST", f"/v1/keys/{rotated['id']}/revoke")
    errors.append(await holder(admin, rotated).get("/v1/processes"))
    return keys, errors
