"""The SDK against a whole platform: results as tables, by link and from the store."""

from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stratum.client import AsyncClient, BrokenFile, Client, Conflict, CorruptDataset, Invalid, NotFound, ProcessFailed, S3Access
from tests.e2e.platform import Platform, split

ENTITY, VERSION = "sdk_shop", "v1"
ROWS = 1_000


@pytest.fixture(scope="module")
def client(platform: Platform) -> Any:
    with Client(platform.document["url"], platform.document["token"]) as client:
        yield client


@pytest.fixture(scope="module")
def shop(client: Client, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("shop")
    parts = []
    for number in range(3):
        ids = range(number * ROWS, (number + 1) * ROWS)
        parts.append(folder / f"same-name-{number}.parquet")
        pq.write_table(pa.table({"id": pa.array(ids), "side": ["x" if i % 2 else "y" for i in ids]}), parts[-1])
    manifest = client.ingest(ENTITY, VERSION, parts)
    assert (manifest.rows, len(manifest.files)) == (3 * ROWS, 3)
    return ENTITY


def test_the_main_job(client: Client, shop: str) -> None:
    seen: list[str] = []
    process = client.run(
        shop, VERSION, "filter", {"condition": "side = 'x'"}, output_dataset="xs", wait=True, on_change=lambda p: seen.append(p.state)
    )
    assert seen[-1] == "succeeded"
    result = client.dataset(shop, VERSION, "xs")
    assert result.manifest.process_id == process.id
    assert sorted(result.to_arrow()["id"].to_pylist()) == list(range(1, 3 * ROWS, 2))
    assert client.run(shop, VERSION, "filter", {"condition": "side = 'x'"}, output_dataset="xs").id == process.id
    assert client.events(process.id)[0].type == "accepted"
    assert process.id in {p.id for p in client.processes(entity_id=shop)}
    with pytest.raises(Conflict) as taken:
        client.run(shop, VERSION, "filter", {"condition": "side = 'y'"}, output_dataset="xs")
    assert taken.value.owner_process_id == str(process.id)


def test_every_kind_of_table(client: Client, shop: str, platform: Platform, tmp_path: Path) -> None:
    source = client.dataset(shop, VERSION, "source")
    expected = sum(range(3 * ROWS))
    assert int(source.to_pandas()["id"].sum()) == expected
    assert int(source.to_polars(["id"])["id"].sum()) == expected
    connection = duckdb.connect()
    assert source.to_duckdb(connection, "shop").aggregate("sum(id)").fetchone() == (expected,)
    assert connection.sql("SELECT count(*) FROM shop WHERE side = 'x'").fetchone() == (3 * ROWS // 2,)
    assert sum(pq.read_table(path).num_rows for path in source.download(tmp_path)) == 3 * ROWS
    store = platform.document["s3"]
    direct = client.dataset(shop, VERSION, "source", s3=S3Access(store["endpoint"], store["access_key"], store["secret_key"]))
    assert direct.to_arrow().equals(source.to_arrow())
    assert direct.head(3) == source.head(3)


async def test_the_asynchronous_client(platform: Platform, shop: str) -> None:
    async with AsyncClient(platform.document["url"], platform.document["token"]) as client:
        source = await client.dataset(shop, VERSION, "source")
        assert (await source.to_arrow()).num_rows == 3 * ROWS
        assert len(await source.head(5)) == 5


def test_failures_are_errors(client: Client, shop: str, tmp_path: Path) -> None:
    with pytest.raises(ProcessFailed, match="id"):
        client.run(shop, VERSION, "filter", {"condition": "idd > 1"}, output_dataset="typo", wait=True)
    with pytest.raises(NotFound):
        client.dataset(shop, VERSION, "absent")
    with pytest.raises(Invalid, match="filter"):
        client.run(shop, VERSION, "filtr")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(BrokenFile):
        client.ingest(shop, "v2", [tmp_path / "empty.csv"])


def test_files_that_are_not_what_the_manifest_says(client: Client, platform: Platform, tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"id": [1, 2, 3]}), file)
    manifest = client.ingest("sdk_corrupt", VERSION, [file])
    dataset = client.dataset("sdk_corrupt", VERSION, "source")
    assert dataset.to_arrow().num_rows == 3
    bucket, _ = split(manifest.location)
    key = manifest.files[0].key
    platform.s3.put_object(Bucket=bucket, Key=key, Body=b"short")
    with pytest.raises(CorruptDataset, match="bytes"):
        dataset.to_arrow()
    platform.s3.delete_object(Bucket=bucket, Key=key)
    with pytest.raises(CorruptDataset, match="no such object"):
        dataset.to_arrow()


def test_a_file_that_changes_while_it_is_uploaded_is_refused(client: Client, tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"id": pa.array(range(1000))}), file)

    def change(phase: str, done: int, total: int) -> None:
        if phase == "hash":
            pq.write_table(pa.table({"id": pa.array(range(1000, 2000))}), file)

    with pytest.raises(Invalid):
        client.ingest("sdk_changed", VERSION, [file], progress=change)
    with pytest.raises(NotFound):
        client.dataset("sdk_changed", VERSION, "source")
