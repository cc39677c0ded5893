"""One tenant's largest requests do not keep the others waiting: each is compared with its own duration, never with a fixed time."""

import asyncpg
import pytest

from contracts.identifiers import new_id
from control_plane.api.datasets import MOST_DATASETS
from tests.control_plane.caller import ENTITY, VERSION, Caller
from tests.control_plane.pauses import watched

pytestmark = pytest.mark.security
PATH = f"/v1/entities/{ENTITY}/versions/{VERSION}/datasets/source"
PART = 4
"""A request may have the event loop for itself for less than this part of its time."""


async def test_many_files_to_upload(bare: Caller) -> None:
    files = [{"name": f"part-{number:05}.parquet", "bytes": 1, "sha256": "0" * 64} for number in range(5000)]
    with watched() as pauses:
        upload = await bare.ok("POST", f"{PATH}/uploads", {"files": files})
    assert [file["name"] for file in upload["files"]] == [file["name"] for file in files]
    assert pauses.longest < pauses.seconds / PART


async def test_many_files_to_read(bare: Caller, sql: asyncpg.Connection) -> None:
    await bare.ingest()
    many = """jsonb_set(manifest, '{files}', (SELECT jsonb_agg(manifest->'files'->0 || jsonb_build_object('key', 'key-' || n))
        FROM generate_series(1, 5000) n))"""
    await _copies(sql, bare, "data_version", many, 1, "many-")
    with watched() as pauses:
        dataset = await bare.ok("GET", PATH.replace(VERSION, "many-1"))
    assert [link["key"] for link in dataset["urls"]] == [f"key-{number}" for number in range(1, 5001)]
    assert pauses.longest < pauses.seconds / PART


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
