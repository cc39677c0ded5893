"""Failures in words that a person understands."""

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from spark_jobs.errors import EmptyInput, Terminated
from spark_jobs.failure import describe


@pytest.mark.parametrize(
    ("query", "error_class", "part"),
    [
        ("SELECT nme FROM VALUES ('a') AS t(name)", "UNRESOLVED_COLUMN.WITH_SUGGESTION", "`name`"),
        ("SELECT cast(x AS int) FROM VALUES ('a') AS t(x)", "CAST_INVALID_INPUT", "'a'"),
        ("SELECT 1 / x FROM VALUES (0) AS t(x)", "DIVIDE_BY_ZERO", "Division by zero"),
        ("SELECT raise_error('the data is odd')", "USER_RAISED_EXCEPTION", "the data is odd"),
        ("SELECT (1", "PARSE_SYNTAX_ERROR", "end of input"),
        ("SELECT 1 + array(1)", "DATATYPE_MISMATCH.BINARY_OP_DIFF_TYPES", "array"),
    ],
)
def test_spark_s_class_and_one_line(spark: SparkSession, query: str, error_class: str, part: str) -> None:
    with pytest.raises(Exception) as raised:
        spark.sql(query).collect()
    found = describe(raised.value)
    assert found.class_ == error_class
    assert part.lower() in found.message.lower()
    assert "\n" not in found.message
    assert "SQLSTATE" not in found.message
    assert not found.retryable


def test_a_failing_task_tells_the_cause_not_the_place(spark: SparkSession, tmp_path: Path) -> None:
    rows = spark.sql("SELECT cast(concat('x', id) AS int) AS n FROM range(10)")
    with pytest.raises(Exception) as raised:
        rows.write.option("compression", "none").parquet(f"file://{tmp_path}/out")
    assert describe(raised.value).class_ == "CAST_INVALID_INPUT"


def test_a_corrupt_file(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "part.parquet").write_bytes(b"this is no Parquet")
    with pytest.raises(Exception) as raised:
        spark.read.schema("n int").parquet(f"file://{tmp_path}").collect()
    found = describe(raised.value)
    assert (found.class_, found.retryable) == ("CORRUPT_INPUT", False)
    assert "part.parquet" in found.message


def test_own_errors_carry_their_class() -> None:
    assert (describe(EmptyInput("nothing")).class_, describe(EmptyInput("nothing")).message) == ("EMPTY_INPUT", "nothing")
    assert (describe(Terminated("stop")).class_, describe(Terminated("stop")).retryable) == ("TERMINATED", True)
    assert (describe(KeyError("x")).class_, describe(KeyError("x")).retryable) == ("UNEXPECTED_ERROR", True)
