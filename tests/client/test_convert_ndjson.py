"""NDJSON and Parquet: what types come out, and what is refused."""

import gzip
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stratum.client.convert import parse_schema, prepare
from stratum.client.convert.ndjson_file import BATCH_ROWS
from stratum.errors import BrokenFile, Invalid


def convert(folder: Path, *contents: str | bytes, ending: str = "ndjson", schema: str = "", **options: Any) -> pa.Table:
    paths = []
    for number, content in enumerate(contents):
        paths.append(folder / f"in{number}.{ending}")
        paths[-1].write_bytes(content if isinstance(content, bytes) else content.encode())
    parts = prepare(paths, folder, schema=parse_schema(schema) if schema else None, **options)
    return pa.concat_tables(pq.read_table(part) for part in parts)


def lines(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_json_types_hold_and_dates_are_found_in_text(tmp_path: Path) -> None:
    table = convert(
        tmp_path,
        lines(
            {"i": 1, "f": 1.5, "b": True, "s": "007", "d": "2013-01-01", "t": "2013-01-01T05:00:00Z", "n": None},
            {"i": 2, "f": 2, "b": None, "s": "5", "d": "2013-01-02", "t": "2013-01-01T05:00:00+01:00", "late": [1, 2.5]},
        ),
    )
    assert {field.name: str(field.type) for field in table.schema} == {
        "i": "int64",
        "f": "double",
        "b": "bool",
        "s": "string",
        "d": "date32[day]",
        "t": "timestamp[us, tz=UTC]",
        "n": "string",
        "late": "list<element: double>",
    }
    assert table.to_pylist()[1] == {
        "i": 2,
        "f": 2.0,
        "b": None,
        "s": "5",
        "d": date(2013, 1, 2),
        "t": datetime(2013, 1, 1, 4, tzinfo=UTC),
        "n": None,
        "late": [1.0, 2.5],
    }


def test_objects_and_arrays_grow_with_what_is_seen(tmp_path: Path) -> None:
    table = convert(tmp_path, lines({"o": None}, {"o": []}, {"o": [{"a": 1}]}, {"o": [{"a": 1.5, "b": "x"}, None]}))
    assert str(table.schema.field("o").type) == "list<element: struct<a: double, b: string>>"
    assert table["o"].to_pylist() == [None, [], [{"a": 1.0, "b": None}], [{"a": 1.5, "b": "x"}, None]]


def test_type_is_found_beyond_the_first_batch(tmp_path: Path) -> None:
    table = convert(tmp_path, lines(*({"a": i} for i in range(BATCH_ROWS + 5)), {"a": 0.5}))
    assert str(table.schema.field("a").type) == "double"
    assert table.num_rows == BATCH_ROWS + 6


def test_decimals_keep_every_digit(tmp_path: Path) -> None:
    content = '{"a": 1.10}\n{"a": 12345678901234567.89}\n{"a": 5}\n'
    assert convert(tmp_path, content, schema="a:decimal(20,2)")["a"].to_pylist() == [
        Decimal("1.10"),
        Decimal("12345678901234567.89"),
        Decimal("5.00"),
    ]


def test_null_marks_gzip_and_empty_lines(tmp_path: Path) -> None:
    content = gzip.compress(('{"a": 1}\n\n' + lines({"a": "NA"})).encode())
    assert convert(tmp_path, content, ending="jsonl.gz", nulls=["NA"])["a"].to_pylist() == [1, None]


@pytest.mark.parametrize(
    ("content", "line", "says"),
    [
        ('{"a":1}\n{"a":\n', 2, "not valid JSON"),
        ('{"a":1}\n{"a":"x"}\n', 2, "string here, int64 in the lines before"),
        ('{"a":1}\n{"a":true}\n', 2, "bool here"),
        ('{"a":"x"}\n{"a":1}\n', 2, "int64 here"),
        ('{"a":[1,"x"]}\n', 1, "several types: number, text"),
        ('{"a":{"b":1}}\n{"a":{"b":"x"}}\n', 2, "here"),
        ("[1]\n", 1, "not a JSON object"),
        ('{"a":NaN}\n', 1, "NaN is not JSON"),
        ('{"a":1,"a":2}\n', 1, "twice"),
        ('{"a":9223372036854775808}\n', 1, "more than 64 bits"),
        ('{"a":9007199254740993}\n{"a":1.5}\n', 1, "not of the type double"),
        ('{"a":1}\n{"a":1e400}\n', 2, "not of the type double"),
        ('{"a":1}\n{"a":1e999999999999999999999}\n', 2, "a number too large for any type"),
        (b'{"a":1}\n{"a":"\xff"}\n', 2, "not UTF-8"),
        ('{"a":' + "[" * 100_000 + "]" * 100_000 + "}\n", 1, "not valid JSON"),
        ('{"a":{}}\n', None, "never has a key"),
        ('{"a":1,"A":2}\n', None, "'a', 'A'"),
        ("\n\n", None, "is empty"),
        ("{}\n", None, "is empty"),
    ],
)
def test_broken_lines_are_refused(tmp_path: Path, content: str | bytes, line: int | None, says: str) -> None:
    with pytest.raises(BrokenFile, match=says) as refused:
        convert(tmp_path, content)
    assert refused.value.line == line


@pytest.mark.parametrize(
    ("schema", "value"),
    [("a:int64", "true"), ("a:int64", "2.5"), ("a:int64", '"2"'), ("a:string", "1"), ("a:date", '"hello"'), ("a:date", "5"),
     ("a:decimal(5,2)", "1.105"), ("a:bool", "1"), ("a:timestamp", "1"), ("a:int32", "2147483648")],
)  # fmt: skip
def test_values_that_are_not_of_the_declared_type_are_refused(tmp_path: Path, schema: str, value: str) -> None:
    with pytest.raises(BrokenFile, match="is not of the type") as refused:
        convert(tmp_path, f'{{"a":null}}\n{{"a":{value}}}\n{{"a":null}}\n', schema=schema)
    assert refused.value.line == 2


def write_parquet(path: Path, **columns: pa.Array) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def test_parquet_passes_as_it_is(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", a=pa.array([1, 2]))
    before = path.read_bytes()
    assert prepare([path], tmp_path) == [path]
    assert path.read_bytes() == before


def test_text_beside_parquet_needs_its_types(tmp_path: Path) -> None:
    parquet = write_parquet(tmp_path / "a.parquet", a=pa.array([1, 2]))
    text = tmp_path / "b.csv"
    text.write_text("a\n3\n")
    assert sum(pq.read_table(part).num_rows for part in prepare([parquet, text], tmp_path)) == 3
    text.write_text("a\n3.5\n")
    with pytest.raises(BrokenFile, match="int64 here, and double"):
        prepare([parquet, text], tmp_path)


@pytest.mark.parametrize("content", [b"PAR1", b"x" * 100, b"PAR1" + b"\0" * 100 + b"PAR1"])
def test_what_is_not_parquet_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(content)
    with pytest.raises(BrokenFile, match="not a whole Parquet file"):
        prepare([path], tmp_path)


def test_parquet_with_damaged_pages_is_refused(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", a=pa.array(range(20_000)), b=pa.array([str(n * 7919) for n in range(20_000)]))
    content = bytearray(path.read_bytes())
    third = len(content) // 3
    content[third : third + 3000] = bytes(byte ^ 0x5A for byte in content[third : third + 3000])
    path.write_bytes(content)
    with pytest.raises(BrokenFile, match="damaged data"):
        prepare([path], tmp_path)


def test_parquet_files_of_other_columns_or_without_rows_are_refused(tmp_path: Path) -> None:
    one = write_parquet(tmp_path / "a.parquet", a=pa.array([1]))
    other = write_parquet(tmp_path / "b.parquet", a=pa.array([1]), b=pa.array([1]))
    with pytest.raises(BrokenFile, match="has 'b' besides"):
        prepare([one, other], tmp_path)
    with pytest.raises(BrokenFile, match="'a' is string here, and int64"):
        prepare([one, write_parquet(tmp_path / "c.parquet", a=pa.array(["x"]))], tmp_path)
    with pytest.raises(BrokenFile, match="no rows"):
        prepare([write_parquet(tmp_path / "d.parquet", a=pa.array([], pa.int64()))], tmp_path)
    with pytest.raises(Invalid, match="No files"):
        prepare([], tmp_path)


@pytest.mark.parametrize("line", [r'{"a":"\ud800"}', r'{"a":[{"b":"x\uDFFF"}]}', r'{"\ud800":1}', r'{"a":{"\udc00":1}}'])
@pytest.mark.parametrize("schema", ["", "a:string"])
def test_half_a_surrogate_pair_is_named_with_its_line(tmp_path: Path, line: str, schema: str) -> None:
    with pytest.raises(BrokenFile, match="half of a surrogate pair") as refused:
        convert(tmp_path, '{"a":"fine"}\n' + line + "\n", schema=schema)
    assert refused.value.line == 2


def test_whole_surrogate_pairs_and_backslashes_are_text(tmp_path: Path) -> None:
    assert convert(tmp_path, r'{"a":"\ud83d\ude00"}' + "\n" + r'{"a":"\\ud800"}' + "\n")["a"].to_pylist() == ["😀", r"\ud800"]


@pytest.mark.parametrize("value", ["0000-01-01", "0000-12-31T23:00:00Z", "0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-05:00"])
def test_times_outside_of_the_years_that_sql_has_stay_text(tmp_path: Path, value: str) -> None:
    table = convert(tmp_path, lines({"a": value}))
    assert table["a"].to_pylist() == [value]
    for kind in ("date", "timestamp"):
        with pytest.raises(BrokenFile, match=f"is not of the type {kind}") as refused:
            convert(tmp_path, lines({"a": value}), schema=f"a:{kind}")
        assert refused.value.line == 1
