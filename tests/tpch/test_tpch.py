"""The TPC-H queries as `sql` actions equal DuckDB's answers over the same files."""

import math
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
import sqlglot
from sqlglot import exp

from tests.e2e.platform import Platform

TABLES = ("customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier")
QUICK = (1, 13)
QUERIES = [pytest.param(number, marks=() if number in QUICK else pytest.mark.slow) for number in range(1, 23)]


@pytest.fixture(scope="module")
def texts() -> dict[int, str]:
    fetched = subprocess.run([sys.executable, "-m", "stratum.local.jars", "fetch", "tpch"], capture_output=True, text=True, check=True)
    (jar,) = Path(fetched.stdout.strip()).glob("*.jar")
    with zipfile.ZipFile(jar) as archive:
        return {number: archive.read(f"tpch/q{number}.sql").decode() for number in range(1, 23)}


@pytest.fixture(scope="module")
def files(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight tables at scale 0.1, as Parquet, ingested into one data version."""
    folder = tmp_path_factory.mktemp("tpch")
    generator = Path(sys.executable).with_name("tpchgen-cli")
    subprocess.run([generator, "parquet", "--scale-factor", "0.1", "--output-dir", folder], check=True, capture_output=True)
    for table in TABLES:
        platform.cli("ingest", "tpch", "sf0.1", str(folder / f"{table}.parquet"), "--dataset", table)
    return folder


@pytest.fixture(scope="module")
def duck(files: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        for table in TABLES:
            connection.execute(f"CREATE VIEW {table} AS SELECT * FROM read_parquet('{files / table}.parquet')")
        yield connection


@pytest.mark.parametrize("number", QUERIES)
def test_query(platform: Platform, duck: duckdb.DuckDBPyConnection, texts: dict[int, str], number: int) -> None:
    query = texts[number]
    parsed = sqlglot.parse_one(query, dialect="spark")
    names = {table.name.lower() for table in parsed.find_all(exp.Table)} & set(TABLES)
    process = platform.post(
        entity_id="tpch",
        data_version="sf0.1",
        action="sql",
        parameters={"query": query, "inputs": {name: name for name in sorted(names)}},
        output_dataset=f"q{number}",
    )
    done = platform.wait(process["id"])
    assert done["state"] == "succeeded", done["reason"]

    expected = duck.execute(parsed.sql(dialect="duckdb")).fetchall()
    declared = platform.manifest(done["artifacts"][0])["columns"]
    columns = [column["name"] for column in declared]
    expected = [tuple(_to_scale(value, column["type"]) for value, column in zip(row, declared, strict=True)) for row in expected]
    rows = platform.json("head", "tpch", "sf0.1", f"q{number}", "-n", str(len(expected) + 1))
    found = [tuple(row[column] for column in columns) for row in rows]

    assert len(found) == len(expected)
    for mine, theirs in zip(sorted(found, key=_key), sorted(expected, key=_key), strict=True):
        assert _equal(mine, theirs), f"{mine} != {theirs}"
    # rows that are equal in what the query orders by may stand in any order among themselves
    ordered_by = [columns.index(name) for name in _order(parsed) if name in columns]
    for mine, theirs in zip(found, expected, strict=True):
        assert _equal(tuple(mine[i] for i in ordered_by), tuple(theirs[i] for i in ordered_by)), "another order"


def _to_scale(theirs: Any, spark_type: str) -> Any:
    """Means and quotients of decimals: DuckDB gives a double where Spark gives a decimal, rounded half up to the scale of its type."""
    scale = re.fullmatch(r"decimal\(\d+,(\d+)\)", spark_type)
    if scale and isinstance(theirs, float):
        return Decimal(repr(theirs)).quantize(Decimal(1).scaleb(-int(scale[1])), ROUND_HALF_UP)
    return theirs


def _order(query: exp.Expression) -> list[str]:
    order = query.args.get("order")
    return [item.this.name for item in order.expressions] if order else []


def _equal(mine: tuple[Any, ...], theirs: tuple[Any, ...]) -> bool:
    return len(mine) == len(theirs) and all(_same(a, b) for a, b in zip(mine, theirs, strict=True))


def _same(mine: Any, theirs: Any) -> bool:
    """JSON has text where DuckDB has dates and decimals; floats agree to 1e-9 of their size."""
    if isinstance(theirs, float):
        return math.isclose(float(mine), theirs, rel_tol=1e-9)
    if isinstance(theirs, Decimal):
        return math.isclose(float(mine), float(theirs), rel_tol=1e-9)
    if isinstance(theirs, int) and not isinstance(theirs, bool):
        return int(mine) == theirs
    return str(mine) == str(theirs)


def _key(row: tuple[Any, ...]) -> tuple[str, ...]:
    return tuple(f"{float(value):.6e}" if isinstance(value, int | float | Decimal) else str(value) for value in row)
