"""One tenant's largest requests do not keep the others waiting: each is compared with its own duration, never with a fixed time."""

import asyncio
import socket

import asyncpg
import httpx
import psutil
import pytest

from contracts.http import Dataset
from contracts.identifiers import new_id
from control_plane.api.datasets import MOST_DATASETS
from tests import figures
from tests.control_plane.caller import ENTITY, VERSION, Caller
from tests.control_plane.installation import Installation
from tests.control_plane.pauses import watched
from tests.control_plane.served import served
from tests.control_plane.waiting import eventually

pytestmark = pytest.mark.security
PATH = f"/v1/entities/{ENTITY}/versions/{VERSION}/datasets/source"
_MANY = """jsonb_set(manifest, '{{files}}', (SELECT jsonb_agg(manifest->'files'->0 || jsonb_build_object('key', 'key-' || n))
    FROM generate_series(1, {}) n))"""
PART = 4
"""A request may have the event loop for itself for less than this part of its time."""
STRICT = 60
"""The same, where next to nothing of it is done on the event loop."""


async def test_many_files_to_upload(bare: Caller) -> None:
    files = [{"name": f"part-{number:05}.parquet", "bytes": 1, "sha256": "0" * 64} for number in range(5000)]
    with watched() as pauses:
        upload = await bare.ok("POST", f"{PATH}/uploads", {"files": files})
    assert [file["name"] for file in upload["files"]] == [file["name"] for file in files]
    assert pauses.longest < pauses.seconds / PART


async def test_many_files_to_read(bare: Caller, sql: asyncpg.Connection) -> None:
    await bare.ingest()
    small = await bare.ok("GET", PATH)
    await _copies(sql, bare, "data_version", _MANY.format(20_000), 1, "many-")
    with watched() as pauses:
        answer = await bare.get(PATH.replace(VERSION, "many-1"))
    dataset = answer.json()
    assert [link["key"] for link in dataset["urls"]] == [f"key-{number}" for number in range(1, 20_001)]
    assert [file["key"] for file in dataset["files"]] == [link["key"] for link in dataset["urls"]]
    assert {name: type(value) for name, value in dataset.items()} == {name: type(value) for name, value in small.items()}
    for each in (small, dataset):
        assert Dataset.model_validate(each).model_dump(mode="json") == each, "nothing of the model is left out, or written otherwise"
    figures.report("longest pause while 20,000 files were told", f"{pauses.longest:.3f} of {pauses.seconds:.1f} s")
    assert pauses.longest < pauses.seconds / STRICT


async def test_few_read_many_files_at_once_and_one_of_a_tenant(
    platform: Installation, client: httpx.AsyncClient, bare: Caller, acme: Caller, sql: asyncpg.Connection
) -> None:
    """A client that does not read on holds a turn, and the pieces that it was sent; not a whole document, and not for ever."""
    callers = [bare, acme, await platform.tenant(client)]
    await bare.ingest()
    await callers[2].ingest()
    for caller in callers:
        await _copies(sql, caller, "data_version", _MANY.format(12_000), 1, "many-")
    path = PATH.replace(VERSION, "many-1")
    async with served(platform, answer_seconds=2) as api:

        async def ask(caller: Caller) -> httpx.Response:
            return await api.client.get(path, headers={"Authorization": f"Bearer {caller.key}"})

        held = [await _slow_reader(api.port) for _ in callers[:2]]
        for caller, (reader, writer) in zip(callers, held, strict=False):
            writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {caller.key}\r\n\r\n".encode())
            assert (await reader.readline()).split()[1] == b"200"
        refused = [await ask(caller) for caller in callers]
        assert [(answer.status_code, answer.headers["retry-after"], answer.json()["type"]) for answer in refused] == [
            (503, "1", "urn:stratum:problem:busy")
        ] * 3
        small = await api.client.get(PATH, headers={"Authorization": f"Bearer {acme.key}"})
        assert small.status_code == 200, "what is small takes no turn"

        async def read() -> bool:
            return (await ask(callers[2])).status_code == 200

        await eventually(read, 60, "the end of who does not read")
        for _, writer in held:
            writer.close()


async def test_many_files_take_little_memory(platform: Installation, bare: Caller, acme: Caller, sql: asyncpg.Connection) -> None:
    """Read twice at once, they take less than the answers have bytes: those were four times as much, each, when they were whole."""
    await bare.ingest()
    for caller in (bare, acme):
        await _copies(sql, caller, "data_version", _MANY.format(40_000), 1, "many-")
    async with served(platform) as api:
        process = psutil.Process(api.command.pid)
        assert (await api.client.get(PATH, headers={"Authorization": f"Bearer {acme.key}"})).status_code == 200
        before = most = process.memory_info().rss

        async def read(caller: Caller) -> int:
            nonlocal most
            size = 0
            url, headers = PATH.replace(VERSION, "many-1"), {"Authorization": f"Bearer {caller.key}"}
            async with api.client.stream("GET", url, headers=headers) as answer:
                assert answer.status_code == 200
                async for piece in answer.aiter_bytes():
                    size += len(piece)
                    most = max(most, process.memory_info().rss)
            return size

        sizes = await asyncio.gather(read(bare), read(acme))
    figures.report("memory for two answers of 40,000 files", f"{(most - before) >> 20} MiB for {sum(sizes) >> 20} MiB")
    assert most - before < sum(sizes)


@pytest.mark.parametrize("asked", ["entity_id", "data_version", "dataset"])
async def test_a_name_that_is_missing_among_many(asked: str, bare: Caller, sql: asyncpg.Connection) -> None:
    await bare.ingest()
    prefix = f"{new_id().hex}-{new_id().hex}-"
    await _copies(sql, bare, asked, "manifest", 9000, prefix)
    where = {"entity_id": ENTITY, "data_version": VERSION, "dataset": "source", asked: f"{prefix}x4711"}
    body = {"entity_id": where["entity_id"], "data_version": where["data_version"], "input_dataset": where["dataset"], "action": "filter"}
    with watched() as pauses:
        answer = await bare.post("/v1/processes", {**body, "parameters": {"condition": "delay > 1"}})
    assert (answer.status_code, answer.json()["suggestions"][0]) == (404, f"{prefix}4711")
    read = await bare.get(f"/v1/entities/{where['entity_id']}/versions/{where['data_version']}/datasets/{where['dataset']}")
    assert (read.status_code, read.json()["suggestions"]) == (404, answer.json()["suggestions"])
    assert pauses.longest < pauses.seconds / 2


async def test_a_version_with_very_many_datasets_is_told_page_by_page(bare: Caller, sql: asyncpg.Connection) -> None:
    await bare.ingest()
    await _copies(sql, bare, "dataset", "manifest", MOST_DATASETS + 5, "more-")
    await bare.ingest(version="v1")
    await bare.ingest(version="w1")
    for limit in (1, 100):
        seen, cursor, pages = [], "", 0
        while cursor is not None:
            query = {"limit": limit, **({"cursor": cursor} if cursor else {})}
            page = (await bare.get(f"/v1/entities/{ENTITY}/versions", params=query)).json()
            told = [(item["data_version"], each["dataset"]) for item in page["items"] for each in item["datasets"]]
            assert (len(page["items"]) <= limit, 0 < len(told) <= MOST_DATASETS) == (True, True)
            seen, cursor, pages = seen + told, page["next_cursor"], pages + 1
        more = sorted(f"more-{number}" for number in range(1, MOST_DATASETS + 6))
        assert seen == [("v1", "source"), *((VERSION, name) for name in [*more, "source"]), ("w1", "source")]
        assert pages == (4 if limit == 1 else 2)


async def _copies(sql: asyncpg.Connection, caller: Caller, column: str, manifest: str, number: int, prefix: str) -> None:
    """Rows like that of the tenant's `source`, which differ in `column`."""
    named = {name: name for name in ("entity_id", "data_version", "dataset")} | {column: "$2 || n"}
    await sql.execute(
        f"""INSERT INTO datasets (tenant, entity_id, data_version, dataset, upload_id, run_id, location, manifest_key, manifest_sha256,
                manifest, rows, bytes, content_fingerprint)
            SELECT tenant, {named["entity_id"]}, {named["data_version"]}, {named["dataset"]}, upload_id, run_id, location, manifest_key,
                manifest_sha256, {manifest}, rows, bytes, content_fingerprint
            FROM datasets, generate_series(1, {number}) n WHERE tenant = $1 AND dataset = 'source' AND data_version = '{VERSION}'
                AND entity_id = '{ENTITY}'""",
        caller.tenant,
        prefix,
    )


async def _slow_reader(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection on whose way next to nothing waits to be read."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", port))
    return await asyncio.open_connection(sock=connection, limit=1024)
