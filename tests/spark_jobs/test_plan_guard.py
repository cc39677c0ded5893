"""Spark's own view of queries, for what another parser might read differently."""

import datetime
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from spark_jobs.errors import QueryRefused
from spark_jobs.plan_guard import checked_condition, checked_query


@pytest.fixture(autouse=True)
def source(spark: SparkSession) -> None:
    spark.sql("SELECT * FROM VALUES (1, 'a'), (2, 'b') AS t(id, name)").createOrReplaceTempView("source")


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM text.`/etc/hostname`",
        "SELECT * FROM other",
        "SELECT java_method('java.lang.System', 'currentTimeMillis')",
        "SELECT system.builtin.reflect('a', 'b')",
        "WITH t AS (SELECT reflect('a', 'b')) SELECT * FROM t",
        "SELECT * FROM source WHERE id IN (SELECT uuid())",
        "SELECT (SELECT rand())",
        "SELECT * FROM source LATERAL VIEW reflect('x') t",
        "SELECT * FROM source CROSS JOIN LATERAL (SELECT uuid())",
        "SELECT * FROM identifier('source')",
        "SELECT transform(id) USING 'cat' AS (c) FROM source",
        "SELECT * FROM source TABLESAMPLE (10 PERCENT)",
        "SELECT /*+ REPARTITION(3) */ * FROM source",
        "SELECT * FROM source VERSION AS OF 1",
        "SELECT user",
        "SELECT current_date",
        "SELECT * FROM sql_keywords()",
        "SHOW TABLES",
        "DROP VIEW source",
        "SET spark.sql.runSQLOnFiles = true",
        "INSERT INTO source SELECT 1, 'a'",
    ],
)
def test_refused(spark: SparkSession, query: str) -> None:
    with pytest.raises(QueryRefused):
        checked_query(spark, query, ["source"])


@pytest.mark.parametrize(
    "query",
    [
        "WITH t AS (SELECT * FROM source) SELECT count(*) FROM t JOIN source USING (id)",
        "SELECT id FROM source UNION SELECT id FROM range(3) ORDER BY id LIMIT 1",
        "SELECT explode(array(id, 2)) FROM source",
        "SELECT * FROM source PIVOT (sum(id) FOR name IN ('a', 'b'))",
        "SELECT * FROM source UNPIVOT (v FOR n IN (id))",
        "SELECT row_number() OVER w FROM source WINDOW w AS (ORDER BY id)",
        "SELECT a FROM VALUES (1) AS t(a) WHERE EXISTS (SELECT 1 FROM source WHERE id = a)",
        "SELECT name AS user FROM source GROUP BY ROLLUP (name) HAVING count(*) > 0",
    ],
)
def test_accepted(spark: SparkSession, query: str) -> None:
    assert checked_query(spark, query, ["source"]).count() > 0


@pytest.mark.parametrize(
    "query",
    [
        "SELECT timestamp 'now' AS t, id FROM source",
        "SELECT /* é😀 */ DATE/**/'\\u0074oday'",
        "SELECT timestamp_ntz r' NOW '",
        'SELECT timestamp_ltz "yesterday UTC"',
        "SELECT * FROM VALUES (date 'tomorrow', 1) AS v(d, n)",
        "SELECT sum(id) OVER w FROM source WINDOW w AS (PARTITION BY date 'today' ORDER BY id)",
        "SELECT cast('today' AS date)",
        "SELECT try_cast(lower(' NOW ') AS timestamp) FROM source",
        "SELECT 'today+01:00'::timestamp_ntz",
        "SELECT to_date('today'), date('today')",
        "SELECT try_to_timestamp('now')",
        "SELECT date_add('today', 1)",
        "SELECT * FROM source WHERE date '2020-01-01' < 'now'",
        "SELECT (SELECT max(timestamp('now')) FROM source)",
        "SELECT * FROM source WHERE EXISTS (SELECT 1 FROM range(1) WHERE date '2020-01-01' IN ('today'))",
        "WITH t AS (SELECT cast('now' AS timestamp) AS c) SELECT c FROM t",
        "SELECT CASE WHEN id > 5 THEN cast(concat('no', 'w') AS timestamp) END FROM source",
    ],
)
def test_texts_that_mean_the_present_time_are_refused(spark: SparkSession, query: str) -> None:
    with pytest.raises(QueryRefused, match="depends on the clock"):
        checked_query(spark, query, ["source"])


def test_the_same_words_as_plain_text_and_other_times_are_not(spark: SparkSession) -> None:
    query = """
        SELECT 'now' AS a, date 'epoch' AS b, cast(' EPOCH ' AS date) AS c, timestamp '2024-02-29 12:00' > date '2024-02-29' AS d,
               try_cast(concat('n', name) AS date) AS e, v.f
        FROM source, VALUES (date '2024-02-29', 'today') AS v(f, g) WHERE g = 'today' AND name <> 'now' AND id = 1
    """
    epoch, leap = datetime.date(1970, 1, 1), datetime.date(2024, 2, 29)
    assert checked_query(spark, query, ["source"]).collect() == [("now", epoch, epoch, True, None, leap)]


def test_values_of_a_column_never_mean_the_present_time(spark: SparkSession, tmp_path: Path) -> None:
    """Spark knows the words in constants alone, so such texts in the data stay unreadable as times."""
    spark.sql("SELECT 'now' AS s").write.parquet(f"file://{tmp_path}/words")
    rows = spark.read.parquet(f"file://{tmp_path}/words")
    found = rows.selectExpr("try_cast(s AS date)", "try_to_timestamp(s)", """from_json('{"a": "' || s || '"}', 'a timestamp').a""")
    assert found.collect() == [(None, None, None)]


@pytest.mark.parametrize("condition", ["t <= timestamp 'now'", "t <= 'now'", "t > to_timestamp('today')", "date(t) = 'yesterday'"])
def test_conditions_on_the_present_time_are_refused(spark: SparkSession, condition: str) -> None:
    rows = spark.sql("SELECT timestamp_seconds(id) AS t FROM source")
    with pytest.raises(QueryRefused, match="depends on the clock"):
        checked_condition(rows, condition)


@pytest.mark.parametrize("condition", ["user = 'root'", "id = (SELECT 1)", "rand() > 0", "id IN (SELECT 1)"])
def test_refused_conditions(spark: SparkSession, condition: str) -> None:
    with pytest.raises(QueryRefused):
        checked_condition(spark.table("source"), condition)
