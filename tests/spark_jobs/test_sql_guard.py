"""What the SQL guard lets through, and what not."""

import pytest
from pyspark.sql import SparkSession

from contracts.errors import SqlRefused
from contracts.sql_functions import ALLOWED, DENIED, ORDER_DEPENDENT, TABLE_FUNCTIONS
from contracts.sql_guard import check_condition, check_query

ACCEPTED = [
    "SELECT 1",
    "(SELECT 1)",
    "SELECT * FROM Source;",
    "FROM source SELECT a",
    "WITH t AS (SELECT * FROM source) SELECT * FROM t UNION ALL SELECT * FROM t",
    "SELECT a FROM source INTERSECT SELECT a FROM source EXCEPT SELECT a FROM source",
    "SELECT * FROM range(10)",
    "SELECT * FROM source LATERAL VIEW explode(x) t AS y",
    "SELECT * FROM source, LATERAL explode(x)",
    "SELECT transform(a, x -> x + 1), named_struct('a', 1).a, map(1, 2)[1], count(*) FILTER (WHERE a > 1) FROM source",
    "SELECT sum(a) OVER (PARTITION BY b ORDER BY c), first_value(a) OVER w FROM source WINDOW w AS (ORDER BY c)",
    "SELECT sort_array(collect_list(a)), listagg(a) WITHIN GROUP (ORDER BY b) FROM source",
    "SELECT cast(a AS decimal(10, 2)), try_cast(a AS int), date(a), date '1995-01-01' + interval 1 month FROM source",
    "SELECT extract(year FROM d), substring(a FROM 1 FOR 2), trim(BOTH 'x' FROM a), timestampadd(month, 1, d) FROM source",
    "SELECT a, grouping(a) FROM source GROUP BY GROUPING SETS ((a), ()) HAVING a > 1 ORDER BY a LIMIT 5 OFFSET 1",
    "SELECT * FROM source PIVOT (sum(a) FOR b IN (1, 2))",
    "SELECT * FROM source WHERE a = (SELECT max(b) FROM source) AND EXISTS (SELECT 1) AND a IN (SELECT 2)",
    "SELECT unix_timestamp(a) FROM source",
    "SELECT 'now', concat('today', a) FROM source WHERE a = 'now' OR a IN ('tomorrow')",
    "SELECT CASE WHEN a = 'now' THEN b END::date, cast(a AS date), to_date(a, 'yyyy') FROM source",
    "SELECT date 'epoch', timestamp '2024-02-29 12:00', 'nowhere'::date, 'now'::string FROM source",
    "SELECT `localtimestamp`, source.localtimestamp FROM source",
]

REFUSED = {
    "SELECT 1; SELECT 2": "exactly one",
    "": "empty",
    "DROP TABLE source": "only SELECT",
    "SELECT a FROM source DISTRIBUTE BY a": "DISTRIBUTE BY",
    "SELECT a FROM source CLUSTER BY a": "CLUSTER BY",
    "SELECT FROM source": "names what it selects",
    "INSERT INTO source SELECT 1": "only SELECT",
    "CREATE TABLE x AS SELECT 1": "only SELECT",
    "SHOW TABLES": "only SELECT",
    "SET x = 1": "only SELECT",
    "EXPLAIN SELECT 1": "only SELECT",
    "EXECUTE IMMEDIATE 'SELECT 1'": "only SELECT",
    "SELECT * FROM text.`/etc/hostname`": "only the declared views",
    "SELECT * FROM parquet.`s3a://bucket/other`": "only the declared views",
    "SELECT * FROM global_temp.source": "only the declared views",
    "SELECT * FROM sourc": "did you mean `source`",
    "SELECT * FROM source WHERE a IN (SELECT b FROM other)": "not declared",
    "SELECT * FROM identifier('source')": "table function `identifier`",
    "SELECT * FROM read_files('/etc')": "table function `read_files`",
    "SELECT java_method('java.lang.System', 'exit', 0)": "foreign code",
    "SELECT `Reflect`('a', 'b')": "foreign code",
    "SELECT system.builtin.reflect('a', 'b')": "foreign code",
    "SELECT builtin.abs(1)": "plain name",
    "SELECT * FROM source LATERAL VIEW reflect('a') t": "foreign code",
    "SELECT transform(a) USING 'cat' AS (c) FROM source": "runs a program",
    "SELECT /*+ BROADCAST(source) */ * FROM source": "hints",
    "SELECT * FROM source TABLESAMPLE (10 PERCENT)": "other rows each time",
    "SELECT * FROM source VERSION AS OF 1": "time travel",
    "SELECT :x FROM source": "parameter without a value",
    "SELECT ${x} FROM source": "without a value",
    "SELECT rand() FROM source": "is random",
    "SELECT uuid() FROM source": "is random",
    "SELECT now()": "clock",
    "SELECT current_date": "clock",
    "SELECT unix_timestamp()": "clock",
    "SELECT localtimestamp": "clock",
    "SELECT LocalTimestamp AS l, a FROM source": "clock",
    "SELECT timestamp 'now'": "clock",
    "SELECT date 'today'": "clock",
    "SELECT timestamp_ntz ' NOW ', 1": "clock",
    "SELECT timestamp_ltz 'tomorrow UTC'": "clock",
    "SELECT cast('Yesterday' AS date) FROM source": "clock",
    "SELECT try_cast(('now') AS timestamp_ntz)": "clock",
    "SELECT cast(cast('today+01:00' AS string) AS timestamp)": "clock",
    "SELECT 'now'::date": "clock",
    "SELECT r'now'::timestamp": "clock",
    "SELECT to_date('today'), a FROM source": "clock",
    "SELECT `date`('today')": "clock",
    "SELECT timestamp('now') - t FROM source": "clock",
    "SELECT extract(year FROM 'now')": "clock",
    "SELECT * FROM VALUES (date 'today') AS v(d)": "clock",
    "SELECT current_user": "running system",
    "SELECT input_file_name() FROM source": "running system",
    "SELECT xpath_string('<a/>', 'a')": "XML",
    "SELECT first(a) FROM source": "order of rows",
    "SELECT collect_list(a) FROM source": "order of rows",
    "SELECT foor(a) FROM source": "did you mean `floor`",
    "SELECT ai_query('x')": "unknown",
    "SELECT * FROM (SELECT": "cannot be read",
    "BEGIN SELECT 1; END": "cannot be read",
    "VALUES (1)": "only SELECT",
    "FROM source |> SELECT a": "pipes are not allowed",
    "SELECT a FROM source |> WHERE a > 1": "pipes are not allowed",
}


@pytest.mark.parametrize("query", ACCEPTED)
def test_accepted(query: str) -> None:
    check_query(query, ["source"])


@pytest.mark.parametrize(("query", "reason"), REFUSED.items())
def test_refused(query: str, reason: str) -> None:
    with pytest.raises(SqlRefused) as refusal:
        check_query(query, ["source"])
    assert reason in refusal.value.reason


def test_the_place_of_the_offending_word_is_told() -> None:
    with pytest.raises(SqlRefused) as refusal:
        check_query("SELECT a\nFROM source\nWHERE a > rand()", ["source"])
    assert refusal.value.position == (3, 11)


@pytest.mark.parametrize("query", ["SELECT " + "(" * 4000 + "1" + ")" * 4000, "SELECT '" + "x" * 100_001 + "'"])
def test_monsters_are_refused(query: str) -> None:
    with pytest.raises(SqlRefused):
        check_query(query, ["source"])


@pytest.mark.parametrize("condition", ["dep_delay > 15", "a IS NULL OR b LIKE 'x%'", "exists(a, x -> x > 1)"])
def test_accepted_conditions(condition: str) -> None:
    check_condition(condition)


@pytest.mark.parametrize(
    "condition", ["", "a b", "a > (SELECT 1)", "1=1; DROP TABLE x", "a) UNION SELECT (1", "rand() > 0.5", "t <= timestamp 'now'"]
)
def test_refused_conditions(condition: str) -> None:
    with pytest.raises(SqlRefused):
        check_condition(condition)


def test_every_function_of_spark_was_decided_upon(spark: SparkSession) -> None:
    names = {row[0] for row in spark.sql("SHOW SYSTEM FUNCTIONS").collect()}
    functions = {name for name in names if name[0].isalpha()}
    assert functions == ALLOWED | DENIED.keys()
    assert not ALLOWED & DENIED.keys()
    assert ORDER_DEPENDENT <= ALLOWED
    assert TABLE_FUNCTIONS <= ALLOWED
