"""What a hostile query tries, on each guard alone: the text's, which the API asks, and the plan's, which the run asks on a real Spark.

A query that reaches Java leaves a mark in the JVM; none may, whatever else is raised.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from contracts.errors import SqlRefused
from contracts.sql_guard import check_condition, check_query
from spark_jobs.errors import QueryRefused
from spark_jobs.plan_guard import checked_condition, checked_query

MARK = "stratum.attack"
CALL = f"'java.lang.System', 'setProperty', '{MARK}', 'done'"

JAVA = [
    f"SELECT reflect({CALL})",
    f"SELECT try_reflect({CALL})",
    f"SELECT `Java_Method`({CALL})",
    f"SELECT system.builtin.java_method({CALL})",
    f"SELECT IDENTIFIER('reflect')({CALL})",
    f"SELECT IDENTIFIER('re' || 'flect')({CALL}) FROM source",
    f"SELECT * FROM VALUES (reflect({CALL})) AS t(a)",
    f"SELECT * FROM VALUES (IDENTIFIER('reflect')({CALL})) AS t(a)",
    f"SELECT * FROM explode(array(reflect({CALL})))",
    f"SELECT * FROM explode(array(IDENTIFIER('reflect')({CALL})))",
    f"SELECT * FROM explode(TABLE(SELECT array(reflect({CALL}))))",
    f"SELECT * FROM source LATERAL VIEW explode(array(reflect({CALL}))) t AS c",
    f"SELECT sum(id) OVER w FROM source WINDOW w AS (ORDER BY reflect({CALL}))",
    f"SELECT sum(id) OVER w FROM source WINDOW w AS (PARTITION BY IDENTIFIER('reflect')({CALL}) ORDER BY id)",
    f"SELECT id FROM source ORDER BY reflect({CALL})",
    f"SELECT id FROM source WHERE id IN (SELECT length(reflect({CALL})) FROM source)",
    f"SELECT count(*) FILTER (WHERE reflect({CALL}) IS NULL) FROM source",
    f"SELECT listagg(name) WITHIN GROUP (ORDER BY reflect({CALL})) FROM source",
    f"SELECT transform(array(id), x -> reflect({CALL})) FROM source",
    f"SELECT 1 LIMIT length(reflect({CALL}))",
    f"FROM source |> EXTEND reflect({CALL}) AS x",
    f"WITH t AS (SELECT reflect({CALL}) AS a) SELECT * FROM t",
    f"SELECT 'a\\' || reflect({CALL}) || '\\'",
    f"SELECT r'\\' || reflect({CALL})",
    f"SELECT /* /* */ 1 */ reflect({CALL})",
]

FILES = [
    "SELECT * FROM text.`{file}`",
    "SELECT * FROM `text`.`{file}`",
    "SELECT * FROM csv.`{file}`",
    "SELECT * FROM json.`{file}`",
    "SELECT * FROM binaryFile.`{file}`",
    "SELECT * FROM parquet.`s3a://another-tenant/x`",
    "SELECT * FROM jdbc.`jdbc:postgresql://database/`",
    "WITH text AS (SELECT 1) SELECT * FROM text.`{file}`",
    "SELECT * FROM IDENTIFIER('text.`{file}`')",
    "SELECT (TABLE text.`{file}`)",
    "SELECT * FROM read_files('{file}')",
    "LOAD DATA LOCAL INPATH '{file}' INTO TABLE source",
    "ADD JAR '{file}'",
    "ADD FILE '{file}'",
    "LIST FILES",
    "CREATE TEMPORARY VIEW v USING text OPTIONS (path '{file}')",
    "CREATE TEMPORARY FUNCTION f AS 'x.Y' USING JAR '{file}'",
    "INSERT OVERWRITE LOCAL DIRECTORY '{file}-written' USING csv SELECT 1",
    "SELECT TRANSFORM(id) USING 'cat {file}' AS (line) FROM source",
    "FROM source MAP id USING 'cat {file}' AS (line)",
    "FROM source REDUCE id USING 'cat {file}' AS (line)",
    "SELECT xpath_string('<!DOCTYPE a [<!ENTITY x SYSTEM \"file://{file}\">]><a>&x;</a>', 'a')",
    "SELECT from_xml('<a/>', 'a int')",
    "SELECT schema_of_avro('x')",
    "SELECT from_protobuf(X'00', 'x', '{file}')",
]

SETTINGS = [
    "SET",
    "SET spark.sql.runSQLOnFiles = true",
    "SET spark.hadoop.fs.s3a.secret.key",
    "RESET",
    "SET VAR x = 1",
    "DECLARE x = 1",
    "SELECT ${spark.master}",
    "SELECT :x",
    "SELECT ?",
    "EXECUTE IMMEDIATE 'SELECT 1'",
    "BEGIN SELECT 1; END",
    "BEGIN DECLARE x INT DEFAULT 1; SELECT x; END",
    "SHOW TABLES",
    "SHOW FUNCTIONS",
    "DESCRIBE source",
    "EXPLAIN SELECT 1",
    "CALL system.procedure()",
    "CREATE FUNCTION f() RETURNS INT RETURN 1",
    "CACHE TABLE t AS SELECT 1",
    "SELECT current_user()",
    "SELECT session_user",
    "SELECT current_catalog()",
    "SELECT current_schema()",
    "SELECT version()",
    "SELECT input_file_name() FROM source",
    "SELECT spark_partition_id() FROM source",
    "SELECT * FROM sql_keywords()",
    "SELECT * FROM python_worker_logs()",
    "SELECT /*+ REPARTITION(100000) */ * FROM source",
    "SELECT * FROM STREAM source",
    "SELECT IDENTIFIER('id') FROM source",
]

ATTACKS = JAVA + FILES + SETTINGS

CONDITIONS = [
    f"reflect({CALL}) IS NULL",
    f"IDENTIFIER('reflect')({CALL}) IS NULL",
    f"sum(id) OVER (ORDER BY reflect({CALL})) > 0",
    "id IN (SELECT 1)",
    "EXISTS (SELECT 1)",
    "current_user() = 'root'",
    "id = ?",
    "id > 0; SELECT 1",
]


@pytest.fixture
def source(spark: SparkSession, tmp_path: Path) -> Iterator[SparkSession]:
    path = str(tmp_path / "data")
    spark.sql("SELECT * FROM VALUES (1, 'a'), (2, 'b') AS t(id, name)").coalesce(1).write.parquet(path)
    spark.read.parquet(path).createOrReplaceTempView("source")
    yield spark
    assert spark._jvm.System.clearProperty(MARK) is None, "Java was reached"
    assert not (tmp_path / "secret-written").exists()


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("a secret line")
    return tmp_path / "secret"


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_text_is_refused(attack: str) -> None:
    with pytest.raises(SqlRefused):
        check_query(attack.replace("{file}", "/etc/hostname"), ["source"])


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_plan_is_refused(attack: str, source: SparkSession, secret: Path) -> None:
    with pytest.raises((QueryRefused, PySparkException)):
        checked_query(source, attack.replace("{file}", str(secret)), ["source"])


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_condition_is_refused_by_both(condition: str, source: SparkSession) -> None:
    with pytest.raises(SqlRefused):
        check_condition(condition)
    with pytest.raises((QueryRefused, PySparkException)):
        checked_condition(source.table("source"), condition)


@pytest.mark.parametrize("text", ["${env:PATH}", "${system:user.home}", "${spark:spark.master}", "${spark.master}"])
def test_variables_stay_text(text: str, source: SparkSession) -> None:
    assert checked_query(source, f"SELECT '{text}' AS a", ["source"]).collect() == [(text,)]


@pytest.mark.parametrize("condition", ["_metadata.file_path LIKE '%a%'", "_metadata.row_index = 0", "`_metadata` IS NOT NULL"])
def test_where_the_rows_lie_is_not_told(condition: str, source: SparkSession, tmp_path: Path) -> None:
    with pytest.raises(QueryRefused, match="_metadata"):
        checked_condition(source.read.parquet(str(tmp_path / "data")), condition)


@pytest.mark.parametrize("query", ["SELECT _metadata FROM source", "SELECT source._metadata.file_path FROM source"])
def test_nor_by_a_query(query: str, source: SparkSession) -> None:
    with pytest.raises((QueryRefused, PySparkException)):
        checked_query(source, query, ["source"])


def test_a_column_of_that_name_is_data(source: SparkSession) -> None:
    rows = source.table("source").withColumnRenamed("id", "_metadata")
    assert checked_condition(rows, "_metadata > 1").count() == 1


@pytest.mark.parametrize("name", ["ｒeflect", "re\u200bflect", "reﬂect", "ｕｕｉｄ"])
def test_look_alikes_are_other_names(name: str, source: SparkSession) -> None:
    query = f"SELECT `{name}`({CALL})"
    with pytest.raises(SqlRefused, match="unknown"):
        check_query(query, ["source"])
    with pytest.raises(QueryRefused, match="unknown"):
        checked_query(source, query, ["source"])


@pytest.mark.parametrize(
    "opening",
    ["(", "abs(", "(SELECT ", "CASE WHEN ", "transform(a, x -> ", "a[", "(1, ", "NOT ", "- ", "INTERVAL "],
)
def test_deep_nesting_ends_in_a_refusal(opening: str) -> None:
    with pytest.raises(SqlRefused):
        check_query("SELECT " + opening * 5_000 + "1", ["source"])
