"""The content fingerprint: what must not change it, and what must."""

from itertools import combinations

import pytest
from pyspark.sql import DataFrame, SparkSession

from spark_jobs.columns import type_text
from spark_jobs.fingerprint import fingerprint

EVERYTHING = """
    SELECT id, cast(id AS string) AS s, if(id % 3 = 0, null, id * 0.1D) AS x, cast(id AS decimal(18, 2)) AS money,
        cast(id * 1.5 AS decimal(38, 6)) AS big, date_add(date'2024-01-01', cast(id AS int)) AS day,
        timestamp_micros(id * 1000003) AS at, timestamp_ntz'2024-01-01 00:00:00' AS local, id % 2 = 0 AS flag, null AS nothing,
        cast(cast(id AS string) AS binary) AS bytes, array(id, null) AS items, map('a', id, 'b', null) AS entries,
        named_struct('p', id, 'q', array(named_struct('r', null, 's', cast(id AS string)))) AS nested,
        cast(id AS tinyint) AS tiny, cast(id AS float) AS f, make_dt_interval(cast(id AS int)) AS span
    FROM range(100)
"""


def test_order_partitions_and_files_do_not_matter(spark: SparkSession) -> None:
    rows = spark.sql(EVERYTHING)
    shapes = [rows, rows.repartition(7), rows.coalesce(1), rows.orderBy(rows["id"].desc())]
    assert len({fingerprint(shape) for shape in shapes}) == 1


def test_its_form_says_version_and_row_count(spark: SparkSession) -> None:
    import re

    assert re.fullmatch(r"sf1:[0-9a-f]{32}-100", fingerprint(spark.sql(EVERYTHING)))


def test_it_stays_what_it_is(spark: SparkSession) -> None:
    """Sealed manifests carry it: a change of the algorithm needs a new version."""
    rows = spark.sql("SELECT * FROM VALUES (1, 'a', 1.5D, null), (2, null, -0.0D, array(1)) AS t(a, b, c, d)")
    assert fingerprint(rows) == "sf1:67a5b1ef6e4a5c59a87e6cf5c5f51cec-2"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("SELECT 0.0D AS x", "SELECT -0.0D AS x"),
        ("SELECT double('NaN') AS x", "SELECT -double('NaN') AS x"),
        ("SELECT map('a', 1, 'b', 2) AS m", "SELECT map('b', 2, 'a', 1) AS m"),
    ],
)
def test_equal_values_are_equal(spark: SparkSession, one: str, other: str) -> None:
    assert fingerprint(spark.sql(one)) == fingerprint(spark.sql(other))


DIFFERENT = {
    "nulls swapped": ["VALUES (null, 1) AS t(a, b)", "VALUES (1, null) AS t(a, b)"],
    "a cell moved to the next column": ["VALUES ('x', '') AS t(a, b)", "VALUES ('', 'x') AS t(a, b)"],
    "text cut elsewhere": ["VALUES ('ab', 'c') AS t(a, b)", "VALUES ('a', 'bc') AS t(a, b)"],
    "a cell moved to the next row": ["VALUES (1, 2), (3, 4) AS t(a, b)", "VALUES (1, 4), (3, 2) AS t(a, b)"],
    "rows once, twice, thrice": [f"VALUES {', '.join(['(1)'] * n)} AS t(a)" for n in (1, 2, 3)],
    "no rows, a null row, two": ["VALUES (1) AS t(a) WHERE false", "VALUES (int(null)) AS t(a)", "VALUES (int(null)), (null) AS t(a)"],
    "null, nothing, zero": ["VALUES (string(null)) AS t(a)", "VALUES ('') AS t(a)", "VALUES ('0') AS t(a)"],
    "types": ["VALUES (1) AS t(a)", "VALUES (1L) AS t(a)", "VALUES ('1') AS t(a)", "VALUES (1.0BD) AS t(a)", "VALUES (1.0D) AS t(a)"],
    "names": ["VALUES (1) AS t(a)", "VALUES (1) AS t(A)", "VALUES (1) AS t(b)"],
    "arrays": [
        f"(SELECT {value} AS a)"
        for value in (
            "cast(array() AS array<int>)",
            "cast(null AS array<int>)",
            "cast(array(null) AS array<int>)",
            "cast(array(null, null) AS array<int>)",
            "array(1, null)",
            "array(cast(null AS int), 1)",
        )
    ],
    "nested arrays": [
        f"(SELECT cast({value} AS array<array<int>>) AS a)"
        for value in ("array()", "array(array())", "array(array(), array())", "array(array(1), array(2))", "array(array(1, 2))")
    ],
    "structs": [
        f"(SELECT cast({value} AS struct<p: int, q: int>) AS a)"
        for value in ("null", "named_struct('p', null, 'q', null)", "named_struct('p', 1, 'q', null)", "named_struct('p', null, 'q', 1)")
    ],
    "maps": [
        f"(SELECT cast({value} AS map<string, int>) AS a)" for value in ("map()", "map('a', 1)", "map('a', null)", "map('b', 1)", "null")
    ],
    "binaries": [f"(SELECT {value} AS a)" for value in ("x''", "x'00'", "x'0000'", "cast(null AS binary)")],
}


@pytest.mark.parametrize("case", DIFFERENT)
def test_different_content_is_different(spark: SparkSession, case: str) -> None:
    found = [fingerprint(spark.sql(f"SELECT * FROM {each}")) for each in DIFFERENT[case]]
    assert all(a != b for a, b in combinations(found, 2)), dict(zip(DIFFERENT[case], found, strict=True))


def test_one_changed_cell_changes_it(spark: SparkSession) -> None:
    def rows(changed: int) -> DataFrame:
        return spark.sql(f"SELECT id, if(id = {changed}, 'y', 'x') AS s FROM range(10000)")

    assert len({fingerprint(rows(changed)) for changed in (-1, 0, 1, 9999)}) == 4


def test_types_as_text_can_be_read_back(spark: SparkSession) -> None:
    from pyspark.sql import types as T

    schema = spark.sql(EVERYTHING).schema.add(
        "odd", T.StructType([T.StructField("a b`c", T.MapType(T.StringType(), T.ArrayType(T.DateType())))])
    )
    assert [T.DataType.fromDDL(type_text(field.dataType)).simpleString() for field in schema.fields] == [
        field.dataType.simpleString() for field in schema.fields
    ]
