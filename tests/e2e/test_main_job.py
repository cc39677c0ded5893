"""The main job: a request over HTTP becomes sealed Parquet, and everything about it can be asked."""

import io
import json
import subprocess
from pathlib import Path

import duckdb
import duckdb_extension_httpfs
import httpx
import pandas as pd
import pyarrow.fs
import pyarrow.parquet as pq
import pytest

from tests.e2e.platform import Platform, split

ORDERS = """order_id,customer,amount,currency,date
1,ann,10.50,EUR,2024-10-01
2,bob,20.00,EUR,2024-10-02
3,ann,5.25,EUR,2024-11-03
4,cid,,EUR,2024-11-04
5,ann,7.00,EUR,2024-11-05
"""


@pytest.fixture(scope="module")
def orders(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("orders") / "orders.csv"
    file.write_text(ORDERS)
    manifest = platform.json("ingest", "cust_8842", "v2024.10.05", str(file))
    assert manifest["rows"] == 5
    return "cust_8842"


@pytest.fixture(scope="module")
def filtered(platform: Platform, orders: str) -> dict[str, object]:
    process = platform.json("run", orders, "v2024.10.05", "filter", "-p", "condition=amount > 6", "--output-dataset", "large", "--wait")
    assert process["state"] == "succeeded", process["reason"]
    return dict(process)


def test_history_manifest_and_files(platform: Platform, filtered: dict[str, object]) -> None:
    process = platform.get(str(filtered["id"]))
    assert platform.history(process["id"]) == ["accepted", "queued", "running", "sealing", "succeeded"]
    assert process["metrics"]["rows_in"] == 5
    assert process["metrics"]["rows_out"] == 3
    platform.assert_sealed_exactly(process)
    manifest = platform.manifest(process["artifacts"][0])
    assert manifest["action"] == "filter"
    assert manifest["parameters"] == {"condition": "amount > 6"}
    assert [column["name"] for column in manifest["columns"]] == ["order_id", "customer", "amount", "currency", "date"]
    assert manifest["content_fingerprint"] == process["artifacts"][0]["content_fingerprint"]


def test_the_same_work_is_the_same_process(platform: Platform, filtered: dict[str, object]) -> None:
    again = platform.json("run", "cust_8842", "v2024.10.05", "filter", "-p", "condition=amount > 6", "--output-dataset", "large", "--wait")
    assert again["id"] == filtered["id"]


def test_readers_that_know_nothing_of_us(platform: Platform, filtered: dict[str, object]) -> None:
    location = platform.get(str(filtered["id"]))["artifacts"][0]["location"]
    s3 = platform.document["s3"]
    host = s3["endpoint"].removeprefix("http://")

    connection = duckdb.connect()
    # the extension comes with its package: nothing is downloaded here
    connection.execute(f"LOAD '{next(Path(duckdb_extension_httpfs.__path__[0]).rglob('*.duckdb_extension'))}'")
    keys = f"KEY_ID '{s3['access_key']}', SECRET '{s3['secret_key']}'"
    connection.execute(f"CREATE SECRET (TYPE s3, {keys}, ENDPOINT '{host}', URL_STYLE 'path', USE_SSL false)")
    rows = connection.execute(f"SELECT order_id FROM read_parquet('{location}*.parquet') ORDER BY order_id").fetchall()
    assert rows == [(1,), (2,), (5,)]

    filesystem = pyarrow.fs.S3FileSystem(access_key=s3["access_key"], secret_key=s3["secret_key"], endpoint_override=s3["endpoint"])
    bucket, prefix = split(location)
    frame = pd.read_parquet(f"{bucket}/{prefix}", filesystem=filesystem)
    assert sorted(frame["order_id"]) == [1, 2, 5]

    listed = {key for key in platform.keys(location) if key.endswith(".parquet")}
    manifest = platform.manifest(platform.get(str(filtered["id"]))["artifacts"][0])
    assert listed == {file["key"] for file in manifest["files"]}
    assert all(key.endswith(".zstd.parquet") for key in listed)


def test_presigned_reads(platform: Platform, filtered: dict[str, object]) -> None:
    with platform.http as http:
        dataset = http.get("/v1/entities/cust_8842/versions/v2024.10.05/datasets/large").json()
    total = sum(pq.read_table(io.BytesIO(httpx.get(url["url"]).content)).num_rows for url in dataset["urls"])
    assert total == dataset["rows"] == 3


def test_a_zombie_changes_nothing_a_reader_sees(platform: Platform, filtered: dict[str, object]) -> None:
    artifact = platform.get(str(filtered["id"]))["artifacts"][0]
    before = platform.json("head", "cust_8842", "v2024.10.05", "large")
    bucket, prefix = split(artifact["location"])
    key = next(key for key in platform.keys(artifact["location"]) if key.endswith(".parquet"))
    zombie = prefix.rsplit("/", 2)[0] + "/another-run/part-zombie.zstd.parquet"
    platform.s3.copy_object(Bucket=bucket, Key=zombie, CopySource={"Bucket": bucket, "Key": key})

    counted = platform.post(
        entity_id="cust_8842",
        data_version="v2024.10.05",
        action="aggregate",
        input_dataset="large",
        output_dataset="count_large",
        parameters={"group_by": ["currency"], "measures": [{"function": "count", "column": "order_id", "name": "n"}]},
    )
    assert platform.wait(counted["id"])["metrics"]["rows_in"] == 3
    assert platform.json("head", "cust_8842", "v2024.10.05", "large") == before


def test_revenue_of_the_mission(platform: Platform, orders: str) -> None:
    process = platform.post(entity_id=orders, data_version="v2024.10.05", action="aggregate_revenue", parameters={"currency": "EUR"})
    done = platform.wait(process["id"])
    assert done["state"] == "succeeded", done["reason"]
    assert done["artifacts"][0]["dataset"] == "aggregate_revenue"


def test_a_failed_run_says_why(platform: Platform, orders: str) -> None:
    failed = platform.json(
        "run", orders, "v2024.10.05", "filter", "-p", "condition=amout > 6", "--output-dataset", "typo", "--wait", code=1
    )
    assert failed["state"] == "failed"
    assert "amount" in failed["reason"]
    assert len(failed["attempts"]) == 1
    assert platform.history(failed["id"]) == ["accepted", "queued", "running", "failed"]


def test_logs_are_there_afterwards(platform: Platform, filtered: dict[str, object]) -> None:
    assert platform.cli("logs", str(filtered["id"])).stdout.strip()


def test_plain_curl(platform: Platform, filtered: dict[str, object]) -> None:
    url, token = platform.document["url"], platform.document["token"]
    for path in ("/v1/actions", "/v1/entities", "/v1/entities/cust_8842/versions", f"/v1/processes/{filtered['id']}", "/openapi.json"):
        out = subprocess.run(
            ["curl", "-sf", "-H", f"Authorization: Bearer {token}", url + path], capture_output=True, text=True, check=True
        ).stdout
        json.loads(out)
