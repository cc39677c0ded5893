"""Column statistics of uploaded files, from their footers."""

import math
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from control_plane import footers
from control_plane.storage import ObjectInfo
from tests.control_plane.caller import parquet

LONG = "x" * 300
CASES: dict[str, tuple[list[list[Any]], tuple[Any, Any]]] = {
    "numbers": ([[1, 5], [3, None]], (1, 5)),
    "an infinite number": ([[1.0, math.inf], [2.0, 3.0]], (1.0, None)),
    "infinite numbers alone": ([[-math.inf, math.inf], [-math.inf, math.inf]], (None, None)),
    "no number": ([[math.nan, 1.0], [2.0, math.nan]], (1.0, 2.0)),
    "decimals of several lengths": ([[Decimal("9.00")], [Decimal("10.00")]], ("9.00", "10.00")),
    "a text that is too long": ([["a", LONG], ["a", "b"]], ("a", None)),
    "nothing but nulls in a file": ([[1, 2], [None, None]], (1, 2)),
}


@pytest.mark.parametrize("name", CASES)
def test_bounds_are_those_of_all_files_or_none(name: str) -> None:
    files, bounds = CASES[name]
    kind = pa.array([value for values in files for value in values]).type
    data = {f"f/{number}.parquet": parquet(pa.table({"x": pa.array(values, kind)})) for number, values in enumerate(files)}
    objects = [ObjectInfo(key, len(body), "e", datetime(2024, 10, 5, tzinfo=UTC)) for key, body in data.items()]
    found = footers.content(objects, lambda key, size: data[key][-size:]).column_statistics["x"]
    assert (found.min, found.max) == bounds
    assert found.nulls == sum(value is None for values in files for value in values)
