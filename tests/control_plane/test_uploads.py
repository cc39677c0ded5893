"""Files of callers: announced, PUT once, checked, sealed."""

import asyncio
import datetime
import threading
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import asyncpg
import httpx
import pyarrow as pa
import pytest

from contracts.identifiers import new_id
from contracts.layout import DatasetPath
from contracts.manifest import Manifest
from contracts.proposal import DatasetContent
from control_plane import uploaded
from control_plane.footer_readers import FooterReaders
from control_plane.storage import Storage
from control_plane.upload_seal import MOST_OF_A_TENANT
from tests.control_plane.caller import BUCKET, ENTITY, TABLE, VERSION, Caller, announced, parquet
from tests.control_plane.hostile import ENDS_ITS_READER
from tests.control_plane.installation import Installation
from tests.control_plane.waiting import eventually

PATH = f"/v1/entities/{ENTITY}/versions/{VERSION}/datasets/source"


async def _seal(caller: Caller, upload: dict[str, Any]) -> httpx.Response:
    return await caller.post(f"{upload['path']}/seal")


async def _put(target: dict[str, Any], data: bytes, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient() as store:
        return await store.put(target["url"], content=data, headers={**target["headers"], **headers})


async def test_files_become_a_dataset(bare: Caller, platform: Installation) -> None:
    two = TABLE.slice(2)
    upload = await bare.begin_upload("source", parquet(), parquet(two))
    sealed = await _seal(bare, upload)
    assert sealed.status_code == 200, sealed.text
    dataset = sealed.json()
    assert (dataset["rows"], dataset["bytes"]) == (6, len(parquet()) + len(parquet(two)))
    assert [(c["name"], c["type"], c["nullable"]) for c in dataset["columns"]] == [("carrier", "string", True), ("delay", "bigint", True)]
    assert dataset["column_statistics"] == {"carrier": {"min": "AA", "max": "UA", "nulls": 2}, "delay": {"min": 1, "max": 4, "nulls": 1}}
    assert [file["rows"] for file in dataset["files"]] == [4, 2]
    assert (dataset["process_id"], dataset["action"], dataset["run_id"]) == (None, None, upload["upload_id"])
    assert dataset["location"] == f"{bare.root}{ENTITY}/{VERSION}/source/{upload['upload_id']}/"
    assert dataset["location"] + "part-00000.parquet" == f"s3://stratum-test/{dataset['files'][0]['key']}"
    async with httpx.AsyncClient() as store:
        assert (await store.get(dataset["urls"][1]["url"])).content == parquet(two)
    body = platform.storage.get("stratum-test", dataset["manifest"].removeprefix("s3://stratum-test/"))
    assert Manifest.model_validate_json(body).to_bytes() == body
    assert (await bare.get(PATH)).json()["manifest_sha256"] == dataset["manifest_sha256"]


async def test_sealing_twice_is_sealing_once(bare: Caller) -> None:
    upload = await bare.begin_upload()
    first, second = await _seal(bare, upload), await _seal(bare, upload)
    assert (first.status_code, second.status_code) == (200, 200)
    assert first.json()["manifest_sha256"] == second.json()["manifest_sha256"]


async def test_a_presigned_put_creates_and_never_replaces(bare: Caller, platform: Installation) -> None:
    upload = await bare.begin_upload()
    (target,) = upload["files"]
    other = bytes(len(parquet()))
    assert (await _put(target, other)).status_code == 412
    without = await _put({**target, "headers": {}}, other)
    assert without.status_code in (403, 412), "the header is signed: it cannot be left out"
    assert (await _seal(bare, upload)).status_code == 200
    assert (await _put(target, other)).status_code == 412
    dataset = (await bare.get(PATH)).json()
    assert platform.storage.get("stratum-test", dataset["files"][0]["key"]) == parquet()


@pytest.mark.parametrize("size", ["more", "less", "unsaid"])
async def test_a_presigned_put_takes_the_announced_size_alone(size: str, bare: Caller, platform: Installation) -> None:
    data = parquet()
    upload = await bare.announce({"a.parquet": data})
    (target,) = upload["files"]
    async with httpx.AsyncClient() as store:
        body: Any = {"more": data + b"x", "less": data[:-1], "unsaid": _pieces(data + b"x")}[size]
        refused = await store.put(target["url"], content=body, headers=target["headers"])
        assert refused.status_code in (400, 403, 411)
    assert platform.storage.list(BUCKET, bare.root.removeprefix(f"s3://{BUCKET}/")) == []
    assert (await _put(target, data)).is_success
    assert (await _seal(bare, upload)).status_code == 200


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    """A body whose length nobody tells beforehand."""
    yield data


async def test_a_tenant_with_many_seals_leaves_turns_to_others(bare: Caller, acme: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    many = [await bare.begin_upload(f"d-{number}") for number in range(MOST_OF_A_TENANT + 3)]
    other = await acme.begin_upload("other")
    go_on, working = threading.Event(), uploaded.checked
    begun: list[str] = []

    def held_up(storage: Storage, readers: FooterReaders, path: DatasetPath, *rest: Any) -> DatasetContent:
        if path.dataset != "other":
            begun.append(path.dataset)
            assert go_on.wait(60)
        return working(storage, readers, path, *rest)

    async def as_many_as_may() -> bool:
        return len(begun) >= MOST_OF_A_TENANT

    monkeypatch.setattr(uploaded, "checked", held_up)
    seals = [asyncio.create_task(_seal(bare, upload)) for upload in many]
    try:
        await eventually(as_many_as_may, 20, "as many seals as may be under way")
        assert (await _seal(acme, other)).status_code == 200
        assert len(begun) == MOST_OF_A_TENANT
    finally:
        go_on.set()
    assert [answer.status_code for answer in await asyncio.gather(*seals)] == [200] * len(many)


async def test_one_that_is_not_complete_can_be_completed(bare: Caller) -> None:
    data = parquet()
    upload = await bare.ok("POST", f"{PATH}/uploads", {"files": [announced(name, data) for name in ("a.parquet", "b.parquet")]})
    upload["path"] = f"{PATH}/uploads/{upload['upload_id']}"
    assert (await _put(upload["files"][0], data)).is_success
    early = await _seal(bare, upload)
    assert (early.status_code, early.json()["detail"]) == (422, "Not uploaded yet: b.parquet. PUT every file to its URL, then seal.")
    assert (await _put(upload["files"][1], data)).is_success
    assert (await _seal(bare, upload)).json()["rows"] == 8


def _corrupt() -> dict[str, tuple[list[bytes], str]]:
    good = parquet()
    beyond = parquet(pa.table({"a": list(range(10_000))}), compression="none", use_dictionary=False)
    footer = int.from_bytes(beyond[-8:-4], "little") + 8
    text = TABLE.set_column(1, "delay", pa.array(["1", "2", "3", "4"]))
    return {
        "not Parquet": ([b"carrier,delay\nAA,1\n"], "not a complete Parquet file"),
        "cut short": ([good[:-20]], "not a complete Parquet file"),
        "only a magic number": ([b"PAR1"], "not a complete Parquet file"),
        "a footer longer than the file": ([b"PAR1" + (10**6).to_bytes(4, "little") + b"PAR1"], "its footer claims"),
        "a footer of nonsense": ([b"PAR1" + b"\x00" * 64 + (32).to_bytes(4, "little") + b"PAR1"], "is corrupt"),
        "a footer that ends its reader": ([ENDS_ITS_READER], "part-00000.parquet cannot be read: reading its footer ended the reader"),
        "data beyond the end": ([b"PAR1" + beyond[-footer:]], "names data beyond the end"),
        "no rows": ([parquet(TABLE.slice(0, 0))], "no rows"),
        "no columns": ([parquet(pa.table({}))], "no columns"),
        "another type": (
            [good, parquet(text)],
            "column 'delay' is string instead of bigint",
        ),
        "a column less": ([good, parquet(TABLE.drop_columns(["delay"]))], "column 'delay' is missing instead of bigint"),
        "another order": ([good, parquet(TABLE.select(["delay", "carrier"]))], "the columns stand in another order"),
        "a column twice": ([parquet(pa.table([[1], [2]], names=["a", "a"]))], "column 'a' is there twice"),
        "a column twice but for its case": ([parquet(pa.table({"Delay": [1], "delay": [2]}))], "is there twice"),
        "a field twice but for its case": (
            [parquet(pa.table({"a": [{"x": 1, "X": 2}]}))],
            "column 'a': field 'x' is there twice",
        ),
        "a field whose name has NUL": ([parquet(pa.table({"a": [{"b\x00": 1}]}))], "column 'a': a field has no name, or one with"),
        "a name too long": ([parquet(pa.table({"a" * 1025: [1]}))], "1024 are allowed"),
        "a type that Spark does not know": (
            [parquet(pa.table({"t": pa.array([1], pa.time64("us"))}))],
            "column 't' has the type time64[us]",
        ),
        "nanoseconds": ([parquet(pa.table({"t": pa.array([1], pa.timestamp("ns"))}))], "write timestamps in microseconds"),
    }


CORRUPT = _corrupt()


async def test_types_that_only_arrow_tells_apart_are_read_as_parquet_has_them(bare: Caller) -> None:
    views = pa.table(
        {"s": pa.array(["a"], pa.string_view()), "b": pa.array([b"b"], pa.binary_view()), "l": pa.array(["c"], pa.large_string())}
    )
    dataset = await bare.ingest("source", parquet(views))
    assert [column["type"] for column in dataset["columns"]] == ["string", "binary", "string"]


async def test_bounds_are_those_of_all_files_and_null_where_json_lacks_them(bare: Caller) -> None:
    first = pa.table({"m": pa.array([Decimal("9.50"), Decimal("-1.00")], pa.decimal128(10, 2)), "f": [float("inf"), 1.0]})
    second = pa.table({"m": pa.array([Decimal("10.00"), Decimal("-20.00")], pa.decimal128(10, 2)), "f": [2.0, 3.0]})
    dataset = await bare.ingest("source", parquet(first), parquet(second))
    assert dataset["column_statistics"] == {
        "m": {"min": "-20.00", "max": "10.00", "nulls": 0},
        "f": {"min": 1.0, "max": None, "nulls": 0},
    }


@pytest.mark.parametrize("name", CORRUPT)
async def test_what_is_no_dataset_is_refused_and_nothing_is_half_visible(name: str, bare: Caller, sql: asyncpg.Connection) -> None:
    files, words = CORRUPT[name]
    upload = await bare.begin_upload("source", *files)
    refused = await _seal(bare, upload)
    assert (refused.status_code, refused.json()["type"]) == (422, "urn:stratum:problem:invalid")
    assert words in refused.json()["detail"]
    assert (await _seal(bare, upload)).status_code == 409
    assert (await bare.get(PATH)).status_code == 404
    assert (await bare.ok("GET", "/v1/entities"))["items"] == []
    assert await sql.fetchval("SELECT count(*) FROM claims WHERE tenant = $1", bare.tenant) == 0
    assert (await bare.ingest())["rows"] == 4, "the name is free for files that are right"


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"sha256": "0" * 64}, "is not the file that was announced: its sha256 is"), ({"bytes": 5}, "bytes, 5 were announced")],
)
async def test_a_file_that_is_not_what_was_announced_is_refused(
    changes: dict[str, Any], words: str, bare: Caller, platform: Installation
) -> None:
    data = parquet()
    upload = await bare.ok("POST", f"{PATH}/uploads", {"files": [{**announced("a.parquet", data), **changes}]})
    key = f"{bare.root}{ENTITY}/{VERSION}/source/{upload['upload_id']}/a.parquet".removeprefix(f"s3://{BUCKET}/")
    platform.storage.put_new(BUCKET, key, data)  # as it would lie in a store that does not judge the length
    answer = await _seal(bare, {"path": f"{PATH}/uploads/{upload['upload_id']}"})
    assert answer.status_code == 422
    assert words in answer.json()["detail"]
    assert (await bare.get(PATH)).status_code == 404
    assert (await bare.ingest())["rows"] == 4


@pytest.mark.parametrize(
    ("files", "pointer"),
    [
        ([], "/files"),
        ([{"name": "../a.parquet", "bytes": 1, "sha256": "0" * 64}], "/files/0/name"),
        ([{"name": "a.csv", "bytes": 1, "sha256": "0" * 64}], "/files/0/name"),
        ([{"name": "_manifest.json.parquet", "bytes": 1, "sha256": "0" * 64}], "/files/0/name"),
        ([{"name": "a.parquet", "bytes": 0, "sha256": "0" * 64}], "/files/0/bytes"),
        ([{"name": "a.parquet", "bytes": 1, "sha256": "0"}], "/files/0/sha256"),
        ([{"name": "a.parquet", "bytes": 1, "sha256": "0" * 64}] * 2, "/files"),
    ],
)
async def test_announcements_are_checked(files: list[dict[str, Any]], pointer: str, bare: Caller) -> None:
    answer = await bare.post(f"{PATH}/uploads", {"files": files})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == pointer


async def test_a_file_that_is_too_large_is_told_so(bare: Caller) -> None:
    answer = await bare.request("POST", f"{PATH}/uploads", json={"files": [{**announced("a.parquet", b"x"), "bytes": 10**15}]})
    assert (answer.status_code, answer.json()["type"]) == (413, "urn:stratum:problem:too-large")
    assert "split it" in answer.json()["detail"]


async def test_a_wrong_file_is_one_error(bare: Caller) -> None:
    answer = await bare.request("POST", f"{PATH}/uploads", json={"files": [{**announced("a.parquet", b"x"), "bytes": 0}]})
    assert [each["pointer"] for each in answer.json()["errors"]] == ["/files/0/bytes"]


async def test_an_open_upload_holds_its_name(bare: Caller) -> None:
    upload = await bare.begin_upload()
    other = await bare.post(f"{PATH}/uploads", {"files": [announced("a.parquet", parquet())]})
    assert (other.status_code, other.json()["type"]) == (409, "urn:stratum:problem:name-taken")
    assert f"DELETE {upload['path']}" in other.json()["detail"], "what to do about it"
    assert (await _seal(bare, upload)).status_code == 200
    after = await bare.post(f"{PATH}/uploads", {"files": [announced("a.parquet", parquet())]})
    assert (after.status_code, "is sealed already" in after.json()["detail"]) == (409, True)


async def test_the_same_files_continue_the_open_upload(bare: Caller, sql: asyncpg.Connection) -> None:
    data = parquet()
    files = {"files": [announced(name, data) for name in ("a.parquet", "b.parquet")]}
    first = await bare.ok("POST", f"{PATH}/uploads", files)
    assert (await _put(first["files"][0], data)).is_success
    again = await bare.ok("POST", f"{PATH}/uploads", files)
    assert again["upload_id"] == first["upload_id"]
    assert again["expires_at"] > first["expires_at"]
    assert (await _put(again["files"][0], data)).status_code == 412, "what is there need not be sent twice"
    assert (await _put(again["files"][1], data)).is_success
    sealed = await _seal(bare, {"path": f"{PATH}/uploads/{first['upload_id']}"})
    assert (sealed.status_code, sealed.json()["rows"]) == (200, 8)
    assert await sql.fetchval("SELECT count(*) FROM uploads WHERE tenant = $1", bare.tenant) == 1


async def test_an_upload_can_be_given_up(bare: Caller) -> None:
    upload = await bare.begin_upload()
    for _ in range(2):
        assert (await bare.request("DELETE", upload["path"])).status_code == 204
    assert (await _seal(bare, upload)).status_code == 409
    other = await bare.begin_upload()
    assert other["upload_id"] != upload["upload_id"]
    assert (await _seal(bare, other)).status_code == 200
    assert (await bare.request("DELETE", other["path"])).status_code == 409, "a sealed dataset stays"
    assert (await bare.get(PATH)).status_code == 200


async def test_an_expired_upload_is_not_sealed(bare: Caller, sql: asyncpg.Connection) -> None:
    upload = await bare.begin_upload()
    await sql.execute("UPDATE uploads SET expires_at = clock_timestamp() WHERE tenant = $1", bare.tenant)
    answer = await _seal(bare, upload)
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:stratum:problem:conflict")
    assert (await bare.get(PATH)).status_code == 404


async def test_an_upload_belongs_to_its_place_and_tenant(bare: Caller, acme: Caller) -> None:
    upload = await bare.begin_upload()
    assert (await acme.post(f"{upload['path']}/seal")).status_code == 404
    assert (await bare.post(f"{upload['path'].replace('/source/', '/sauce/')}/seal")).status_code == 404
    assert (await bare.post(f"{PATH}/uploads/{new_id()}/seal")).status_code == 404
    assert (await _seal(bare, upload)).status_code == 200


async def test_many_types_are_named_as_spark_names_them(bare: Caller) -> None:
    table = pa.table(
        {
            "b": [True],
            "i8": pa.array([1], pa.int8()),
            "u32": pa.array([1], pa.uint32()),
            "f": pa.array([1.5], pa.float32()),
            "d": [datetime.date(2024, 10, 5)],
            "m": pa.array([Decimal("1.25")], pa.decimal128(18, 2)),
            "t": pa.array([datetime.datetime(2024, 10, 5)], pa.timestamp("us")),
            "tz": pa.array([datetime.datetime(2024, 10, 5)], pa.timestamp("us", "UTC")),
            "l": [[1, 2]],
            "s": [{"x": 1, "y": ["z"]}],
            "kv": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
            "dict": pa.array(["x"]).dictionary_encode(),
            "bin": [b"\x00"],
            "nan": [float("nan")],
        }
    )
    dataset = await bare.ingest("source", parquet(table))
    assert {c["name"]: c["type"] for c in dataset["columns"]} == {
        "b": "boolean", "i8": "tinyint", "u32": "bigint", "f": "float", "d": "date", "m": "decimal(18,2)", "t": "timestamp_ntz",
        "tz": "timestamp", "l": "array<bigint>", "s": "struct<x:bigint,y:array<string>>", "kv": "map<string,bigint>",
        "dict": "string", "bin": "binary",
        "nan": "double",
    }  # fmt: skip
    statistics = dataset["column_statistics"]
    assert statistics["m"] == {"min": "1.25", "max": "1.25", "nulls": 0}
    assert statistics["d"]["min"] == "2024-10-05"
    assert statistics["b"] == {"min": True, "max": True, "nulls": 0}


async def test_a_footer_longer_than_the_first_read(bare: Caller) -> None:
    table = pa.table({f"a_column_with_a_rather_long_name_{number}": [number] for number in range(1500)})
    data = parquet(table)
    assert int.from_bytes(data[-8:-4], "little") > 64 * 1024
    assert len((await bare.ingest("source", data))["columns"]) == 1500


async def test_other_files_are_told_which_upload_has_the_name_and_how_it_is_given_up(bare: Caller) -> None:
    data = parquet()
    upload = await bare.ok("POST", f"{PATH}/uploads", {"files": [announced("a.parquet", data)]})
    other = await bare.post(f"{PATH}/uploads", {"files": [announced("b.parquet", data)]})
    assert other.status_code == 409
    assert f"DELETE {PATH}/uploads/{upload['upload_id']}" in other.json()["detail"]
    assert (await bare.request("DELETE", f"{PATH}/uploads/{upload['upload_id']}")).status_code == 204
    assert (await bare.ingest())["rows"] == 4
