"""Sealed datasets as tables: files that are one schema to Spark, and not to Arrow."""

import datetime
import io
from contextlib import AbstractContextManager, nullcontext
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts.http import Dataset
from contracts.proposal import DataFile
from stratum.client.dataset import SealedDataset
from stratum.client.objects import Objects
from stratum.errors import CorruptDataset

SHA = f"sha256:{'0' * 64}"
MANIFEST: dict[str, Any] = {
    "tenant": "t", "entity_id": "e", "data_version": "v", "dataset": "d", "run_id": "r", "location": "s3://b/e/v/d/r/",
    "process_id": None, "step": None, "attempt": None, "action": None, "action_revision": None, "parameters": {}, "inputs": [],
    "image": None, "code_version": None, "spark_version": None, "created_at": "2026-01-01T00:00:00Z", "schema_fingerprint": SHA,
    "manifest": "s3://b/e/v/d/_manifest.json", "manifest_sha256": SHA, "urls": [],
}  # fmt: skip


class Lying:
    """Files that lie in memory."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self._files = files

    def whole(self, file: DataFile) -> pa.Buffer:
        return pa.py_buffer(self._files[file.key])

    def opened(self, file: DataFile) -> pa.NativeFile:
        return pa.BufferReader(self._files[file.key])


class InMemory(SealedDataset):
    """A dataset of these tables, one a file."""

    def __init__(self, *tables: pa.Table) -> None:
        self._files = {str(number): _parquet(table) for number, table in enumerate(tables)}
        files = [
            {"key": key, "size": len(data), "rows": table.num_rows, "etag": "e"}
            for (key, data), table in zip(self._files.items(), tables, strict=True)
        ]
        columns = [{"name": name, "type": "as the tables have it"} for name in tables[0].column_names]
        sizes = {"rows": sum(table.num_rows for table in tables), "bytes": sum(map(len, self._files.values()))}
        super().__init__(Dataset.model_validate({**MANIFEST, **sizes, "files": files, "columns": columns}))

    def _objects(self) -> AbstractContextManager[Objects]:
        return nullcontext(Lying(self._files))


def _parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def table(value: Any, kind: pa.DataType, **more: Any) -> pa.Table:
    return pa.table({"c": pa.array([value], kind), **more})


CODED = pa.dictionary(pa.int32(), pa.string())
NOON = datetime.datetime(2024, 1, 1, 12)


@pytest.mark.parametrize(
    ("one", "other", "values"),
    [
        (table("a", CODED), table("b", pa.string()), ["a", "b"]),
        (table("a", CODED), table("b", pa.dictionary(pa.int8(), pa.string())), ["a", "b"]),
        (table("a", pa.string()), table("b", pa.large_string()), ["a", "b"]),
        (table(b"a", pa.binary()), table(b"b", pa.binary_view()), [b"a", b"b"]),
        (table(NOON, pa.timestamp("ms")), table(NOON, pa.timestamp("us")), [NOON, NOON]),
        (table(1, pa.uint8()), table(-1, pa.int16()), [1, -1]),
        (table(2**64 - 1, pa.uint64()), table(Decimal(1), pa.decimal128(20, 0)), [Decimal(2**64 - 1), Decimal(1)]),
        (table(["a"], pa.list_(CODED)), table(["b"], pa.large_list(pa.string())), [["a"], ["b"]]),
        (table({"x": 1}, pa.struct({"x": pa.uint16()})), table({"x": -1}, pa.struct({"x": pa.int32()})), [{"x": 1}, {"x": -1}]),
        (table([("k", 1)], pa.map_(pa.string(), pa.uint32())), table([("k", 2)], pa.map_(CODED, pa.int64())), [[("k", 1)], [("k", 2)]]),
    ],
)
def test_files_that_are_one_schema_to_spark_are_one_table(one: pa.Table, other: pa.Table, values: list[Any]) -> None:
    for tables, expected in (((one, other), values), ((other, one), values[::-1])):
        dataset = InMemory(*tables)
        assert dataset.to_arrow()["c"].to_pylist() == expected
        assert len(dataset.to_pandas()) == len(dataset.to_polars()) == 2
        assert [row["c"] for row in dataset.head()] == expected


def test_moments_of_several_zones_are_in_utc() -> None:
    moment = NOON.replace(tzinfo=datetime.UTC)
    read = InMemory(table(moment, pa.timestamp("us", "Europe/Berlin")), table(moment, pa.timestamp("ms", "UTC"))).to_arrow()
    assert read.schema.field("c").type == pa.timestamp("us", "UTC")
    assert read["c"].to_pylist() == [moment, moment]


def test_columns_that_agree_keep_their_types() -> None:
    one, other = table("a", CODED, n=pa.array([1], pa.uint8())), table("b", pa.string(), n=pa.array([2], pa.uint8()))
    assert InMemory(one, other).to_arrow().schema.field("n").type == pa.uint8()
    assert InMemory(one, one).to_arrow().schema.field("c").type == CODED


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (table("x", pa.string()), table(1, pa.int64())),
        (table("x", pa.string()), pa.table({"d": ["x"]})),
        (table(2**62, pa.timestamp("ms")), table(1, pa.timestamp("us"))),
    ],
)
def test_files_that_do_not_go_together_are_corrupt(one: pa.Table, other: pa.Table) -> None:
    with pytest.raises(CorruptDataset, match="The files"):
        InMemory(one, other).to_arrow()
