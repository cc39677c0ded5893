"""What a file is by its name, and what names columns and fields may have."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stratum.client.convert import prepare
from stratum.errors import BrokenFile


def written(folder: Path, rows: list[dict[str, Any]], name: str = "in.ndjson") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def parquet(folder: Path, table: pa.Table, name: str = "in.parquet") -> Path:
    path = folder / name
    pq.write_table(table, path)
    return path


@pytest.mark.parametrize("names", [("A.PARQUET",), ("a.parquet", "B.PARQUET"), ("A.PARQUET", "b.Parquet")])
def test_the_case_of_an_ending_does_not_matter(tmp_path: Path, names: tuple[str, ...]) -> None:
    paths = [parquet(tmp_path, pa.table({"a": [number]}), name) for number, name in enumerate(names)]
    assert prepare(paths, tmp_path) == paths


def test_gzip_is_told_by_an_ending_of_any_case(tmp_path: Path) -> None:
    path = tmp_path / "IN.CSV.GZ"
    path.write_bytes(gzip.compress(b"a\n1\n"))
    (part,) = prepare([path], tmp_path)
    assert pq.read_table(part).to_pylist() == [{"a": 1}]


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ({"x": 1, "X": 2}, "several fields of the column 'a' have one name"),
        ({"": 1}, "no name"),
        ({"b\x00": 1}, "characters that cannot be printed"),
        ({"b\n": 1}, "characters that cannot be printed"),
        ({"b" * 1025: 1}, "longer than 1024 characters"),
        ([[{"deep": {"x": 1, "X": 2}}]], "several fields of the column 'a' have one name"),
    ],
)
def test_names_of_fields_are_checked_as_names_of_columns(tmp_path: Path, field: Any, words: str) -> None:
    with pytest.raises(BrokenFile, match=r"in\.ndjson: ") as refused:
        prepare([written(tmp_path, [{"a": field}])], tmp_path)
    assert words in refused.value.message
    assert len(refused.value.message) < 500
    with pytest.raises(BrokenFile, match=r"in\.parquet: ") as refused:
        prepare([parquet(tmp_path, pa.table({"a": pa.array([field])}))], tmp_path)
    assert words in refused.value.message


def test_names_of_fields_in_maps_are_checked(tmp_path: Path) -> None:
    kind = pa.map_(pa.string(), pa.struct({"x": pa.int64(), "X": pa.int64()}))
    with pytest.raises(BrokenFile, match="several fields"):
        prepare([parquet(tmp_path, pa.table({"a": pa.array([[("k", {"x": 1, "X": 2})]], kind)}))], tmp_path)


def test_fields_that_are_one_name_only_together_are_refused(tmp_path: Path) -> None:
    paths = [written(tmp_path, [{"a": {"x": 1}}], "one.ndjson"), written(tmp_path, [{"a": {"X": 1}}], "two.ndjson")]
    with pytest.raises(BrokenFile, match="several fields of the column 'a' have one name"):
        prepare(paths, tmp_path)


def test_a_field_may_have_any_name_that_can_be_quoted(tmp_path: Path) -> None:
    (part,) = prepare([written(tmp_path, [{"a": {"b`c": 1, "two words": 2}}])], tmp_path)
    assert pq.read_table(part).to_pylist() == [{"a": {"b`c": 1, "two words": 2}}]


def test_a_name_of_a_column_may_not_be_too_long(tmp_path: Path) -> None:
    with pytest.raises(BrokenFile, match="longer than 1024 characters") as refused:
        prepare([written(tmp_path, [{"a" * 1025: 1}])], tmp_path)
    assert len(refused.value.message) < 500


@pytest.mark.parametrize(
    "kind", [pa.null(), pa.list_(pa.null()), pa.struct({"x": pa.null()}), pa.dictionary(pa.int32(), pa.null())], ids=str
)
def test_a_column_of_no_type_is_told_how_to_get_one(tmp_path: Path, kind: pa.DataType) -> None:
    path = parquet(tmp_path, pa.table({"a": [1], "c": pa.nulls(1, kind)}))
    with pytest.raises(BrokenFile, match=r"the column 'c' .*null.* type") as refused:
        prepare([path], tmp_path)
    assert "cast" in refused.value.hint
    assert "and string in" not in refused.value.message


def test_a_column_of_no_type_beside_one_of_a_type_is_told_the_same(tmp_path: Path) -> None:
    paths = [
        parquet(tmp_path, pa.table({"c": ["x"]}), "one.parquet"),
        parquet(tmp_path, pa.table({"c": pa.nulls(1)}), "two.parquet"),
    ]
    with pytest.raises(BrokenFile, match=r"two\.parquet: the column 'c' .*null.* type") as refused:
        prepare(paths, tmp_path)
    assert "pa.string()" in refused.value.hint
