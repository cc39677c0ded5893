"""What is read from the footers of several files together, without a store: statistics, names, and what is refused."""

import datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from contracts.proposal import ColumnStatistics, DatasetContent
from control_plane import footers
from control_plane.errors import StorageUnavailable, UploadRefused
from control_plane.storage import ObjectInfo
from tests.control_plane.caller import parquet

INFINITE, NOT_A_NUMBER, TOO_LONG = float("inf"), float("nan"), "x" * 300
NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def content(*files: bytes) -> DatasetContent:
    lies = {f"folder/{number}.parquet": data for number, data in enumerate(files)}
    objects = [ObjectInfo(key=key, size=len(data), etag="e", modified_at=NOW) for key, data in lies.items()]
    return footers.content(objects, lambda key, size: lies[key][-size:])


def column(values: list[Any], kind: pa.DataType | None = None) -> bytes:
    return parquet(pa.table({"c": pa.array(values, kind)}))


def statistics(*files: bytes) -> ColumnStatistics:
    return content(*files).column_statistics["c"]


def bounds(*files: bytes) -> tuple[Any, Any]:
    found = statistics(*files)
    return found.min, found.max


@pytest.mark.parametrize(
    ("first", "second", "kind", "expected"),
    [
        ([Decimal("9.50"), Decimal("-1.00")], [Decimal("10.00"), Decimal("-20.00")], pa.decimal128(10, 2), ("-20.00", "10.00")),
        ([Decimal("1E+2")], [Decimal(5)], pa.decimal128(10, 0), ("5", "100")),
        ([datetime.date(999, 1, 1)], [datetime.date(2024, 1, 1)], pa.date32(), ("0999-01-01", "2024-01-01")),
        (
            [datetime.datetime(2024, 1, 1, 0, 0, 0, 500_000)],
            [datetime.datetime(2024, 1, 1)],
            pa.timestamp("us", "UTC"),
            ("2024-01-01 00:00:00+00:00", "2024-01-01 00:00:00.500000+00:00"),
        ),
        ([9, -1], [10, -20], pa.int64(), (-20, 10)),
        (["b", None], ["a", "c"], pa.string(), ("a", "c")),
        ([b"b"], [b"a"], pa.binary(), (None, None)),
        ([True], [False], pa.bool_(), (False, True)),
        ([None], [2.5], pa.float64(), (2.5, 2.5)),
        ([2**64 - 1], [1], pa.uint64(), (1, 2**64 - 1)),
        ([1, 5], [3, None], pa.int64(), (1, 5)),
        ([1, 2], [None, None], pa.int64(), (1, 2)),
        ([1.0, INFINITE], [2.0, 3.0], pa.float64(), (1.0, None)),
        ([-INFINITE, INFINITE], [-INFINITE, INFINITE], pa.float64(), (None, None)),
        ([NOT_A_NUMBER, 1.0], [2.0, NOT_A_NUMBER], pa.float64(), (1.0, 2.0)),
        ([Decimal("9.00")], [Decimal("10.00")], pa.decimal128(4, 2), ("9.00", "10.00")),
        (["a", TOO_LONG], ["a", "b"], pa.string(), ("a", None)),
    ],
)
def test_bounds_are_those_of_all_files(first: list[Any], second: list[Any], kind: pa.DataType, expected: tuple[Any, Any]) -> None:
    assert bounds(column(first, kind), column(second, kind)) == expected
    assert bounds(column(second, kind), column(first, kind)) == expected
    assert statistics(column(first, kind), column(second, kind)).nulls == sum(value is None for value in (*first, *second))


def test_bounds_of_timestamps_of_several_units() -> None:
    early, late = datetime.datetime(2024, 1, 1), datetime.datetime(2024, 1, 1, 0, 0, 0, 1000)
    assert bounds(column([late], pa.timestamp("ms")), column([early], pa.timestamp("us"))) == (
        "2024-01-01 00:00:00",
        "2024-01-01 00:00:00.001000",
    )


def _text(*values: bytes) -> pa.Array:
    return pa.array(values, pa.binary()).view(pa.string())


def _days(*values: int) -> pa.Array:
    return pa.array(values, pa.int32()).view(pa.date32())


def _microseconds(*values: int) -> pa.Array:
    return pa.array(values, pa.int64()).view(pa.timestamp("us"))


def _in_table(values: pa.Array) -> bytes:
    return parquet(pa.table({"c": values}))


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ([column([INFINITE, 1.0]), column([2.0])], (1.0, None)),
        ([column([2.0]), column([-INFINITE, 1.0])], (None, 2.0)),
        ([column([NOT_A_NUMBER]), column([2.0])], (None, None)),
        ([_in_table(_days(-719_528, 0)), _in_table(_days(1))], (None, None)),
        ([_in_table(_microseconds(2**62)), _in_table(_microseconds(0))], (None, None)),
        ([_in_table(_text(b"\xff\xfe")), _in_table(_text(b"a"))], (None, None)),
        ([column([1, 2]), parquet(pa.table({"c": [3]}), write_statistics=False)], None),
    ],
)
def test_bounds_that_cannot_be_shown_are_null(files: list[bytes], expected: tuple[Any, Any] | None) -> None:
    found = content(*files)
    assert found.rows > 0
    shown = found.column_statistics.get("c")
    assert (None if shown is None else (shown.min, shown.max)) == expected


def test_nulls_are_counted_where_bounds_cannot_be_shown() -> None:
    found = statistics(_in_table(pa.concat_arrays([_days(2**31 - 1), pa.array([None], pa.date32())])), column([None], pa.date32()))
    assert (found.min, found.max, found.nulls) == (None, None, 2)


def nested(*names: str) -> pa.Array:
    return pa.StructArray.from_arrays([pa.array([1])] * len(names), names=list(names))


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (pa.table({"a": nested("b\x00")}), "column 'a': a field has no name"),
        (pa.table({"a": nested("b\n")}), "cannot be printed"),
        (pa.table({"a": nested("")}), "no name"),
        (pa.table({"a": nested("x", "X")}), "field 'x' is there twice"),
        (pa.table({"a": pa.array([[{"x": 1, "X": 2}]])}), "field 'x' is there twice"),
        (pa.table({"a": pa.array([[(1, {"x": 1, "X": 2})]], pa.map_(pa.int64(), pa.struct({"x": pa.int64(), "X": pa.int64()})))}), "twice"),
        (pa.table({"a": nested("b" * 1025)}), "1024"),
        (pa.table({"a" * 1025: [1]}), "1024"),
    ],
)
def test_names_that_no_query_could_use_are_refused(table: pa.Table, words: str) -> None:
    with pytest.raises(UploadRefused, match=r"0\.parquet: ") as refused:
        content(parquet(table))
    assert words in str(refused.value)
    assert len(str(refused.value)) < 500


def test_names_of_fields_are_quoted_as_runs_quote_them() -> None:
    (found,) = content(parquet(pa.table({"a": nested("plain_1", "a`b", "two words", "1st")}))).columns
    assert found.type == "struct<plain_1:bigint,`a``b`:bigint,`two words`:bigint,`1st`:bigint>"


def test_whatever_else_is_wrong_with_a_file_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Any) -> None:
        raise OverflowError("a number too large")

    monkeypatch.setattr("control_plane.footers.column_bounds", broken)
    with pytest.raises(UploadRefused, match=r"0\.parquet cannot be read: OverflowError: a number too large"):
        content(column([1]))


def test_a_store_that_does_not_answer_is_no_fault_of_the_file() -> None:
    def tail(key: str, size: int) -> bytes:
        raise StorageUnavailable("no answer")

    with pytest.raises(StorageUnavailable):
        footers.content([ObjectInfo(key="a", size=100, etag="e", modified_at=NOW)], tail)
