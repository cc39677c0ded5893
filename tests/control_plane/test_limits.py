"""Limits of the API, through a real socket: each refusal is fast, says why, and leaves the server able to work."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from control_plane.api.limits import nests_deeper
from control_plane.api.server import BEYOND
from tests.control_plane.caller import ENTITY, VERSION, Caller
from tests.control_plane.installation import Installation
from tests.control_plane.served import Answer, Served, served
from tests.control_plane.waiting import eventually

pytestmark = pytest.mark.security

HOST = b"Host: stratum.test\r\n"
KEY = b"Authorization: Bearer <key>\r\n"
"""To be replaced by `_key`."""
SMALL = {
    "max_connections": 20,
    "max_url_bytes": 2048,
    "max_query_bytes": 512,
    "max_headers": 20,
    "max_header_bytes": 4096,
    "max_body_bytes": 65_536,
    "max_json_depth": 32,
    "request_seconds": 1.5,
}


@pytest_asyncio.fixture(loop_scope="session")
async def bearer(bare: Caller) -> dict[str, str]:
    """Headers of who may send bodies."""
    return {"Authorization": f"Bearer {bare.key}"}


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def api(live: object) -> AsyncIterator[Served]:
    """One with small limits."""
    async with served(live.installation, **SMALL) as running:  # type: ignore[attr-defined]
        yield running


def _key(caller: Caller) -> bytes:
    return KEY.replace(b"<key>", caller.key.encode())


async def _works(api: Served) -> None:
    assert (await api.client.get("/healthz")).status_code == 200


def _refused(answer: Answer, status: int, kind: str) -> None:
    assert (answer.status, answer.problem["type"]) == (status, f"urn:stratum:problem:{kind}"), answer.raw[:300]
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize(
    ("head", "status", "kind"),
    [
        (b"GET /" + b"a" * 3000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414, "uri-too-long"),
        (b"GET /v1/time HTTP/1.1\r\n" + HOST + b"A: b\r\n" * 30 + b"\r\n", 431, "headers-too-large"),
        (b"GET /v1/time HTTP/1.1\r\n" + HOST + b"A: " + b"b" * 5000 + b"\r\n\r\n", 431, "headers-too-large"),
        (b"GET /v1/time HTTP/1.1\r\n" + HOST + b"A: " + b"b" * 1_000_000, 431, "headers-too-large"),
        (b"GET /v1/time HTTP/1.1\r\n" + HOST + b"a" * 1_000_000, 431, "headers-too-large"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 100, 400, "malformed"),
        (b"GET /v1/time HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "malformed"),
    ],
    ids=["url", "many headers", "a large header", "a header without end", "a name without end", "TLS", "two lengths"],
)
async def test_a_head_over_the_limits(head: bytes, status: int, kind: str, api: Served) -> None:
    answer = await api.raw(head)
    _refused(answer, status, kind)
    assert answer.seconds < 2
    await _works(api)


async def test_a_query_over_the_limit(api: Served) -> None:
    answer = await api.client.get("/v1/processes", params={"cursor": "a" * 600})
    assert (answer.status_code, answer.json()["type"]) == (414, "urn:stratum:problem:uri-too-long")


@pytest.mark.parametrize(
    "pieces",
    [
        [],
        [b"GET /v1/time HTTP/1.1\r\n"] + [b"A: b\r\n"] * 100,
        [b"\r\n"] * 100,
        [b"POST /v1/processes HTTP/1.1\r\n" + HOST + KEY + b"Content-Length: 1000\r\n\r\n"] + [b" "] * 100,
        [b"POST /v1/processes HTTP/1.1\r\n" + HOST + KEY + b"Transfer-Encoding: chunked\r\n\r\n"] + [b"1\r\n \r\n"] * 100,
    ],
    ids=["nothing", "headers", "blank lines", "body", "chunks"],
)
async def test_what_comes_too_slowly_is_not_waited_for(pieces: list[bytes], api: Served, bare: Caller) -> None:
    answer = await api.raw(*(piece.replace(KEY, _key(bare)) for piece in pieces), pause=0.2)
    _refused(answer, 408, "too-slow")
    assert 1 < answer.seconds < 5
    await _works(api)


async def test_an_idle_connection_is_used_again_after_the_time_for_a_request(api: Served) -> None:
    reader, writer = await api.connect()
    for _ in range(2):
        writer.write(b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n")
        assert (await reader.readline()).split()[1] == b"200"
        await reader.readuntil(b'"checks":{}}')
        # it may come and must not: the end of the connection, for longer than a request may take
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), SMALL["request_seconds"] + 0.2)  # type: ignore[operator]
    writer.close()


async def test_a_body_over_the_limit_declared_or_not(api: Served, bearer: dict[str, str]) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(70):
            yield b" " * 1000

    for content in (b" " * 70_000, chunks()):
        answer = await api.client.post("/v1/processes", content=content, headers=bearer)
        assert (answer.status_code, answer.json()["type"]) == (413, "urn:stratum:problem:too-large")


async def test_the_list_of_an_uploads_files_may_be_longer(acme: Caller) -> None:
    files = [{"name": f"{number:0200}.parquet", "bytes": 5 * 1024**3, "sha256": "0" * 64} for number in range(10_000)]
    assert (await acme.post(f"/v1/entities/{ENTITY}/versions/{VERSION}/datasets/long/uploads", {"files": files})).status_code == 201
    refused = await acme.post("/v1/processes", {"files": files})
    assert (refused.status_code, refused.json()["type"]) == (413, "urn:stratum:problem:too-large")


@pytest.mark.parametrize("credential", [{}, {"Authorization": "Basic eDp5"}, {"Authorization": "Bearer wrong"}])
@pytest.mark.parametrize("path", ["/v1/processes", "/v1/keys", "/v1/processes/callback"])
async def test_a_body_without_a_valid_credential_is_not_waited_for(path: str, credential: dict[str, str], api: Served) -> None:
    lines = [f"POST {path} HTTP/1.1", "Host: stratum.test", "Content-Length: 60000", *(f"{n}: {v}" for n, v in credential.items())]
    reader, writer = await api.connect()
    writer.write("\r\n".join([*lines, "", '{"a": ']).encode())
    assert (await asyncio.wait_for(reader.readline(), 30)).split()[1] == b"401"
    writer.close()


async def test_a_connection_goes_on_behind_a_body_that_nobody_read(api: Served) -> None:
    reader, writer = await api.connect()
    writer.write(b"POST /v1/processes HTTP/1.1\r\n" + HOST + b"Content-Length: 60000\r\n\r\n" + b" " * 60_000)
    writer.write(b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n")
    assert b" 401 " in await asyncio.wait_for(reader.readline(), 30)
    assert b'"status":"ok"' in await asyncio.wait_for(reader.readuntil(b'"checks":{}}'), 30)
    writer.close()


async def test_who_sends_it_is_judged_before_what_is_sent(client: httpx.AsyncClient, acme: Caller, platform: Installation) -> None:
    viewer = await platform.tenant(client, acme.tenant, role="viewer")
    broken: dict[str, Any] = {"content": b"{", "headers": {"Content-Type": "application/json"}}
    assert (await client.post("/v1/processes", **broken)).status_code == 401
    assert (await client.post("/v1/processes/callback", **broken)).status_code == 401
    assert (await viewer.request("POST", "/v1/processes", **broken)).status_code == 403
    assert (await acme.request("POST", "/v1/processes", **broken)).status_code == 400


async def test_bodies_that_are_too_much_together(platform: Installation, bare: Caller, bearer: dict[str, str]) -> None:
    head = b"POST /v1/processes HTTP/1.1\r\n" + HOST + _key(bare) + b"Content-Length: 60000\r\n\r\n"
    async with served(platform, max_bodies_bytes=150_000, request_seconds=300) as api:
        held: dict[asyncio.Task[bytes], asyncio.StreamWriter] = {}

        async def full() -> bool:
            """Whether a third body is refused, beside two that are held; whoever came before those has had an answer by then."""
            for answer in [each for each in held if each.done()]:
                held.pop(answer).close()
            while len(held) < 2:
                reader, writer = await api.connect()
                writer.write(head + b" " * 59_999)
                await writer.drain()
                held[asyncio.create_task(reader.read(1))] = writer
            return (await api.client.post("/v1/processes", content=b" " * 60_000, headers=bearer)).status_code == 503

        await eventually(full, what="a refusal")
        refused = await api.client.post("/v1/processes", content=b" " * 60_000, headers=bearer)
        assert (refused.json()["type"], refused.headers["Retry-After"]) == ("urn:stratum:problem:busy", "1")
        for answer, writer in held.items():
            answer.cancel()
            writer.close()

        async def room() -> bool:
            return (await api.client.post("/v1/processes", content=b" " * 60_000, headers=bearer)).status_code != 503

        await eventually(room, what="room for a body again")


@pytest.mark.parametrize("body", [b"[" * 60_000, b'{"a":' * 10_000, b"[" * 40 + b"]" * 40, b'{"a":[' * 20 + b"]}" * 20])
async def test_json_that_nests_too_deep_is_not_parsed(body: bytes, api: Served, bearer: dict[str, str]) -> None:
    answer = await api.client.post("/v1/processes", content=body, headers={**bearer, "Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["type"]) == (400, "urn:stratum:problem:malformed")
    assert "32 levels" in answer.json()["detail"]


def test_depth_is_counted_without_texts_and_in_time_that_grows_with_length_alone() -> None:
    assert not nests_deeper(b"[" * 32 + b"]" * 32, 32)
    assert nests_deeper(b"[" * 33 + b"]" * 33, 32)
    assert not nests_deeper(json.dumps({"a": "[" * 100, 'b"[[[\\': ["\\", "]{"] * 100}).encode(), 4)
    assert not nests_deeper(b"[" + b"[]," * 1000 + b"{}]", 2)
    size = 4 * 1024 * 1024
    for hostile in (b'"\\' * (size // 2), b'\\"' * (size // 2), b"[]" * (size // 2), b"[" * size, b'"[' * (size // 2), b"{[" * (size // 2)):
        begin = time.monotonic()
        nests_deeper(hostile, 100)
        assert time.monotonic() - begin < 5, hostile[:4]


@pytest.mark.parametrize("number", ["1e999", "-1e999", "1" * 5000, "1e39", "NaN", str(10**38)])
async def test_numbers_that_no_column_holds(number: str, acme: Caller) -> None:
    body = f'{{"entity_id": "e", "data_version": "v", "action": "filter", "parameters": {{"condition": {number}}}}}'
    answer = await acme.request("POST", "/v1/processes", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422), answer.text


async def test_more_connections_than_may_be_are_told_so_at_once_and_probes_are_answered(api: Served) -> None:
    held = [await api.connect() for _ in range(SMALL["max_connections"] + 5)]  # type: ignore[arg-type]
    try:
        for path in (b"/v1/time", b"/metrics", b"/healthz/", b"/healthz?a=b"):
            _refused(answer := await api.raw(b"GET " + path + b" HTTP/1.1\r\n" + HOST + b"\r\n"), 503, "busy")
            assert (answer.headers["retry-after"], answer.seconds < 20) == ("1", True)
        for path in (b"/healthz", b"/readyz"):
            probe = await api.raw(b"GET " + path + b" HTTP/1.1\r\n" + HOST + b"\r\n")
            assert (probe.status, probe.headers["connection"]) == (200, "close"), "answered, and no connection more"
    finally:
        for _, writer in held:
            writer.close()
    await _has_room(api)


async def test_so_many_connections_that_the_oldest_beyond_the_limit_give_way(platform: Installation) -> None:
    most = 20
    async with served(platform, max_connections=most) as api:  # with all the time of the default: none goes for being slow
        held = [await api.connect() for _ in range(most + BEYOND + 30)]
        try:
            probe = await api.raw(b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n")
            assert probe.status == 200
            first = await asyncio.wait_for(held[most + 10][0].readline(), 30)
            assert first.split()[1] == b"503"
        finally:
            for _, writer in held:
                writer.close()
        await _has_room(api)


async def _has_room(api: Served) -> None:
    async with httpx.AsyncClient(base_url=api.client.base_url) as other:

        async def room() -> bool:
            return (await other.get("/v1/time")).status_code == 200

        await eventually(room, what="room for a connection again")


async def test_requests_that_pile_up_are_refused_at_once_and_probes_are_not(platform: Installation, client: httpx.AsyncClient) -> None:
    caller = await platform.tenant(client)
    headers = {"Authorization": f"Bearer {caller.key}"}
    async with served(platform, max_requests=5, database_pool_size=2, database_max_waiting=1) as api, platform.sql() as sql:
        assert (await api.client.get("/v1/processes", headers=headers)).status_code == 200
        transaction = sql.transaction()
        await transaction.start()
        await sql.execute("LOCK TABLE api_keys IN ACCESS EXCLUSIVE MODE")
        begin = time.monotonic()
        answers = await asyncio.gather(*(api.client.get("/v1/processes", headers=headers) for _ in range(30)))
        waited = time.monotonic() - begin
        probe = await api.client.get("/healthz")
        await transaction.rollback()
        assert {answer.status_code for answer in answers} == {503}
        assert all(int(answer.headers["Retry-After"]) >= 1 for answer in answers)
        kinds = [answer.json()["type"].rsplit(":", 1)[1] for answer in answers]
        assert kinds.count("busy") >= 25, "most are refused at once, not one after the other"
        assert (waited < 8, probe.status_code) == (True, 200)
        assert (await api.client.get("/v1/processes", headers=headers)).status_code == 200


async def test_an_answer_that_is_not_ready_in_time(platform: Installation, client: httpx.AsyncClient) -> None:
    caller = await platform.tenant(client)
    headers = {"Authorization": f"Bearer {caller.key}"}
    async with served(platform, answer_seconds=1) as api, platform.sql() as sql:
        async with sql.transaction():
            await sql.execute("LOCK TABLE api_keys IN ACCESS EXCLUSIVE MODE")
            begin = time.monotonic()
            answer = await api.client.get("/v1/processes", headers=headers)
            assert time.monotonic() - begin < 3
            assert (answer.status_code, answer.json()["type"], answer.headers["Retry-After"]) == (503, "urn:stratum:problem:busy", "2")
        assert (await api.client.get("/v1/processes", headers=headers)).status_code == 200


async def test_every_list_is_paged(client: httpx.AsyncClient, acme: Caller) -> None:
    """A list without `limit` and `cursor` has an end of its own: the catalog, the two secrets."""
    document = (await client.get("/openapi.json")).json()
    schemas = document["components"]["schemas"]
    whole = []
    for path, methods in document["paths"].items():
        operation = methods.get("get")
        if operation is None:
            continue
        schema = operation["responses"]["200"].get("content", {}).get("application/json", {}).get("schema", {})
        name = schema.get("$ref", "").rsplit("/", 1)[-1]
        if "items" not in schemas.get(name, {}).get("properties", {}):
            continue
        names = {parameter["name"] for parameter in operation.get("parameters", ())}
        if not {"limit", "cursor"} <= names:
            whole.append(path)
            continue
        filled = path.replace("{entity_id}", "cust_8842").replace("{process_id}", "01a20065-f2df-71c8-870b-06a65fa44268")
        assert (await acme.get(filled, params={"limit": 10_000})).status_code == 422, path
        assert (await acme.get(filled, params={"limit": 0})).status_code == 422, path
    assert sorted(whole) == ["/v1/actions", "/v1/webhooks/secret"]


async def test_a_history_in_pages(acme: Caller) -> None:
    process_id = (await acme.accepted(1))["id"]
    await acme.ok("POST", f"/v1/processes/{process_id}/cancel")
    whole = await acme.until_event(process_id, "accepted")
    path, seen, cursor = f"/v1/processes/{process_id}/events", [], None
    while True:
        page = (await acme.get(path, params={"limit": 1, **({"cursor": cursor} if cursor else {})})).json()
        seen += [item["type"] for item in page["items"]]
        assert len(page["items"]) <= 1
        if (cursor := page["next_cursor"]) is None:
            break
    assert seen[: len(whole)] == whole
    for wrong in ("x", "MTIzNDU2Nzg5MDEyMw", "-1"):
        assert (await acme.get(path, params={"cursor": wrong})).status_code == 422
