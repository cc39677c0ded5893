"""Spark's own view of queries, for what another parser might read differently."""

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


@pytest.mark.parametrize("condition", ["user = 'root'", "id = (SELECT 1)", "rand() > 0", "id IN (SELECT 1)"])
def test_refused_conditions(spark: SparkSession, condition: str) -> None:
    with pytest.raises(QueryRefused):
        checked_condition(spark.table("source"), condition)
