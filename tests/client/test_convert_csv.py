"""CSV and TSV: what types come out, and what is refused."""

import gzip
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratum.client.convert import parse_schema, prepare
from stratum.client.convert.csv_file import BLOCK_BYTES
from stratum.errors import BrokenFile, Invalid


def convert(folder: Path, *contents: str | bytes, ending: str = "csv", schema: str = "", **options: Any) -> pa.Table:
    paths = []
    for number, content in enumerate(contents):
        paths.append(folder / f"in{number}.{ending}")
        paths[-1].write_bytes(content if isinstance(content, bytes) else content.encode())
    parts = prepare(paths, folder, schema=parse_schema(schema) if schema else None, **options)
    return pa.concat_tables(pq.read_table(part) for part in parts)


def types(table: pa.Table) -> dict[str, str]:
    return {field.name: str(field.type) for field in table.schema}


@pytest.mark.parametrize(
    ("values", "type_", "read"),
    [
        (["1", "-2", "0"], "int64", [1, -2, 0]),
        (["9223372036854775807"], "int64", [2**63 - 1]),
        (["9223372036854775808"], "string", ["9223372036854775808"]),
        (["007", "1"], "string", ["007", "1"]),
        (["1", "1.5", "-.5", "1e3", "2."], "double", [1.0, 1.5, -0.5, 1000.0, 2.0]),
        (["12345678901234567", "1.5"], "string", ["12345678901234567", "1.5"]),
        (["1e400", "1"], "string", ["1e400", "1"]),
        (["-0", "1"], "double", [-0.0, 1.0]),
        (["0x1F"], "string", ["0x1F"]),
        (["1,5", "2,5"], "string", ["1,5", "2,5"]),
        (["true", "FALSE"], "bool", [True, False]),
        (["0", "1"], "int64", [0, 1]),
        (["2013-02-28"], "date32[day]", [date(2013, 2, 28)]),
        (["2013-02-30"], "string", ["2013-02-30"]),
        (["0000-01-01"], "string", ["0000-01-01"]),
        (["0001-01-01", "9999-12-31"], "date32[day]", [date(1, 1, 1), date(9999, 12, 31)]),
        (["0001-01-01T00:00:00+05:00"], "string", ["0001-01-01T00:00:00+05:00"]),
        (["9999-12-31T23:59:59-05:00"], "string", ["9999-12-31T23:59:59-05:00"]),
        (
            ["0001-01-01T00:00Z", "9999-12-31T23:59:59.999999Z"],
            "timestamp[us, tz=UTC]",
            [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)],
        ),
        (["2013-01-01T05:00:00Z"], "timestamp[us, tz=UTC]", [datetime(2013, 1, 1, 5, tzinfo=UTC)]),
        (["2013-01-01 05:00:00.25+01:00"], "timestamp[us, tz=UTC]", [datetime(2013, 1, 1, 4, 0, 0, 250_000, tzinfo=UTC)]),
        (
            ["2013-01-01", "2013-01-01T05:00"],
            "timestamp[us, tz=UTC]",
            [datetime(2013, 1, 1, tzinfo=UTC), datetime(2013, 1, 1, 5, tzinfo=UTC)],
        ),
        (["2013-01-01T05:00:00.123456789Z"], "string", ["2013-01-01T05:00:00.123456789Z"]),
        (["1", "x"], "string", ["1", "x"]),
        (["", ""], "string", [None, None]),
        (["", "5"], "int64", [None, 5]),
        ([" 5"], "string", [" 5"]),
    ],
)
def test_type_is_found_from_every_value(tmp_path: Path, values: list[str], type_: str, read: list[Any]) -> None:
    rows = "".join(f'"{v}",x\n' if "," in v else f"{v},x\n" for v in values)
    table = convert(tmp_path, f"a,b\n{rows}")
    assert types(table)["a"] == type_
    assert table["a"].to_pylist() == read


def test_type_is_found_beyond_the_first_block(tmp_path: Path) -> None:
    rows = "1,text to make it long enough\n" * (BLOCK_BYTES // 25)
    table = convert(tmp_path, f"a,b\n{rows}x,last\n")
    assert types(table) == {"a": "string", "b": "string"}
    assert table.num_rows == BLOCK_BYTES // 25 + 1
    assert table["a"][-1].as_py() == "x"


def test_null_marks_are_null_in_every_column(tmp_path: Path) -> None:
    table = convert(tmp_path, 'n,s\nNA,x\n1,NA\n,"NA"\n"",""\n2,-\n', nulls=["NA", "-"])
    assert types(table) == {"n": "int64", "s": "string"}
    assert table.to_pydict() == {"n": [None, 1, None, None, 2], "s": ["x", None, None, "", None]}


def test_without_null_marks_their_text_stays(tmp_path: Path) -> None:
    assert convert(tmp_path, "n\nNA\n1\n")["n"].to_pylist() == ["NA", "1"]


def test_declared_types_win(tmp_path: Path) -> None:
    table = convert(tmp_path, "a,b,c\n007,2,5\n+1,3.10,6\n", schema="a:int64,b:decimal(12,2),c:string")
    assert types(table) == {"a": "int64", "b": "decimal128(12, 2)", "c": "string"}
    assert table.to_pylist()[1] == {"a": 1, "b": Decimal("3.10"), "c": "6"}


def test_quotes_newlines_and_both_kinds_of_line_ends(tmp_path: Path) -> None:
    table = convert(tmp_path, '\ufeffa,b\r\n"x\ny","say ""hi"""\r\n"p,q",z\r\n')
    assert table.to_pylist() == [{"a": "x\ny", "b": 'say "hi"'}, {"a": "p,q", "b": "z"}]


def test_empty_lines_are_nulls_of_a_single_column_and_nothing_otherwise(tmp_path: Path) -> None:
    assert convert(tmp_path, "a\n1\n\n3\n")["a"].to_pylist() == [1, None, 3]
    assert convert(tmp_path, "a,b\n1,2\n\n3,4\n")["a"].to_pylist() == [1, 3]


def test_tsv_gzip_and_other_delimiters(tmp_path: Path) -> None:
    assert convert(tmp_path, "a\tb\n1\tx y\n", ending="tsv").to_pylist() == [{"a": 1, "b": "x y"}]
    assert convert(tmp_path, gzip.compress(b"a,b\n1,2\n"), ending="csv.gz").to_pylist() == [{"a": 1, "b": 2}]
    assert convert(tmp_path, "a;b\n1;2\n", delimiter=";").to_pylist() == [{"a": 1, "b": 2}]


@pytest.mark.parametrize(
    ("content", "line", "says"),
    [
        ("a,b\n1,2\n1,2,3\n", 3, "3 fields where the header has 2"),
        ("a,b\n1,2\n1\n", 3, "1 field where the header has 2"),
        ('a,b\n"x\ny",2\n1\n', 4, "1 field"),
        ('a,b\n1,"x\n2,y\n3,"z"\n4,5\n', 2, "quote"),
        ('a,b\n1,"x\n2,y\n', 2, "quote"),
        ('a,b\n1,2\n1,"x"y\n', 3, "quote"),
        ("", None, "is empty"),
        ("\n\n", None, "is empty"),
        ("a,b\n", None, "no rows"),
        ("a,b", None, "no rows"),
        ("a,A\n1,2\n", 1, "'a', 'A'"),
        ("a,\n1,2\n", 1, "column 2 of 2 has no name"),
        ("a, b\n1,2\n", 1, "blanks"),
        (b"a,b\n1,x\n2,\xff\xfe\n", 3, "not UTF-8"),
        ("a;b\n1;2\n", 1, "delimiter"),
        ("a,b\n1,2\n" + "x" * (3 * BLOCK_BYTES) + ",1\n", None, "longer than 8 MiB"),
    ],
)
def test_broken_files_are_refused_with_the_line(tmp_path: Path, content: str | bytes, line: int | None, says: str) -> None:
    with pytest.raises(BrokenFile, match=says) as refused:
        convert(tmp_path, content)
    assert refused.value.line == line
    assert refused.value.path == tmp_path / "in0.csv"
    if line and line > 1:
        raw = content if isinstance(content, bytes) else content.encode()
        shown = (refused.value.text or "").splitlines()[0]
        assert shown.encode("utf-8", "surrogateescape").split(b"\\")[0] in raw.splitlines()[line - 1]


@pytest.mark.parametrize(
    ("schema", "value"),
    [("a:int64", "x"), ("a:int64", "1.5"), ("a:int64", "0x1F"), ("a:int64", "9223372036854775808"), ("a:int32", "2147483648"),
     ("a:double", "1e400"), ("a:bool", "1"), ("a:date", "2013-02-30"), ("a:timestamp", "yesterday"), ("a:decimal(5,2)", "1.005"),
     ("a:decimal(3,2)", "10.00")],
)  # fmt: skip
def test_values_that_are_not_of_the_declared_type_are_refused(tmp_path: Path, schema: str, value: str) -> None:
    good = {"a:bool": "true", "a:date": "2013-01-01", "a:timestamp": "2013-01-01"}.get(schema, "1")
    with pytest.raises(BrokenFile, match="is not of the type") as refused:
        convert(tmp_path, f'a,b\n"{good}","two\nlines"\n{value},bad\n{good},x\n', schema=schema)
    assert refused.value.line == 4
    assert refused.value.text == f"{value},bad\n"


def test_a_cut_off_gzip_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BrokenFile, match="not a whole gzip file"):
        convert(tmp_path, gzip.compress(b"a,b\n1,2\n" * 100_000)[:-20], ending="csv.gz")


def test_files_share_one_schema(tmp_path: Path) -> None:
    assert types(convert(tmp_path, "a,b\n1,\n", "b,a\n1.5,2\n")) == {"a": "int64", "b": "double"}
    with pytest.raises(BrokenFile, match=r"'b' is string here, and int64 in .*in0\.csv"):
        convert(tmp_path, "a,b\n1,2\n", "a,b\n1,x\n")
    with pytest.raises(BrokenFile, match="lacks 'b' and has 'c' besides"):
        convert(tmp_path, "a,b\n1,2\n", "a,c\n1,2\n")


def test_many_rows_become_several_row_groups(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("a,b\n" + "".join(f"{i},{'x' * 40}\n" for i in range(500_000)))
    (part,) = prepare([path], tmp_path)
    metadata = pq.ParquetFile(part).metadata
    assert metadata.num_rows == 500_000
    assert metadata.num_row_groups >= 2
    assert metadata.row_group(0).column(0).compression == "ZSTD"


@pytest.mark.parametrize("schema", ["a", "a:foo", ":int64", "a:int64,a:string", "a:decimal(40,2)", "a:decimal(5,6)", ""])
def test_a_schema_that_makes_no_sense_is_refused(schema: str) -> None:
    with pytest.raises(Invalid):
        parse_schema(schema)


def test_a_declared_column_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="q"):
        convert(tmp_path, "a\n1\n", schema="q:int64")


def test_an_unknown_format_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="format"):
        convert(tmp_path, "x", ending="xlsx")
    with pytest.raises(BrokenFile, match="does not exist"):
        prepare([tmp_path / "absent.csv"], tmp_path)


def quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


@given(
    st.lists(
        st.tuples(st.text(st.characters(codec="utf-8", exclude_characters="\0")), st.integers(-(2**63), 2**63 - 1)), min_size=1, max_size=20
    )
)
def test_what_is_written_comes_back(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, int]]) -> None:
    content = "s,n\n" + "".join(f"{quoted(text)},{number}\n" for text, number in rows)
    table = convert(tmp_path_factory.mktemp("csv"), content, schema="s:string")
    assert table["n"].to_pylist() == [number for _, number in rows]
    assert table["s"].to_pylist() == [text for text, _ in rows]


@pytest.mark.parametrize(
    ("value", "kind"), [("0000-01-01", "date"), ("0000-06-01", "timestamp"), ("9999-12-31T23:59:59-05:00", "timestamp")]
)
def test_declared_times_outside_of_the_years_that_sql_has_are_refused(tmp_path: Path, value: str, kind: str) -> None:
    with pytest.raises(BrokenFile, match=f"is not of the type {kind}") as refused:
        convert(tmp_path, f"a\n2013-01-01\n{value}\n", schema=f"a:{kind}")
    assert refused.value.line == 3
