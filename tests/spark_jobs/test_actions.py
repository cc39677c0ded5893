"""The actions, as functions from rows to rows."""

import datetime
from decimal import Decimal
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession

from contracts.catalog import DEFAULT_FOLDER, Catalog
from spark_jobs.actions import ACTIONS, Outcome
from spark_jobs.errors import InvalidParameter, InvalidValues, JobError, QueryRefused, UnknownColumn, WrongType
from spark_jobs.fingerprint import fingerprint


@pytest.fixture(scope="module")
def orders(spark: SparkSession) -> DataFrame:
    return spark.sql("""
        SELECT * FROM VALUES
            (1, 'a', 1.5D, 10.20BD, date'2024-10-05', 'EUR', map('x', 1)),
            (2, 'a', 2.5D, 5.30BD, date'2024-10-07', 'EUR', map('x', 2)),
            (3, 'b', null, 7.00BD, date'2024-11-07', 'USD', null),
            (3, 'b', null, 7.00BD, date'2024-11-07', 'USD', null)
        AS t(id, shop, x, amount, date, currency, tags)
    """)


def apply(action: str, parameters: dict[str, Any], rows: DataFrame) -> Outcome:
    return ACTIONS[action].apply({"source": rows}, parameters)


def result(action: str, parameters: dict[str, Any], rows: DataFrame) -> list[tuple[Any, ...]]:
    return sorted((tuple(row) for row in apply(action, parameters, rows).rows.collect()), key=str)


def test_catalog_and_code_have_the_same_actions_and_examples() -> None:
    catalog = Catalog.load(DEFAULT_FOLDER)
    assert ACTIONS.keys() <= catalog.actions.keys()
    for name, action in ACTIONS.items():
        for example in catalog.actions[name].examples:
            action.read(example)


@pytest.mark.parametrize(
    ("action", "parameters"),
    [
        ("filter", {}),
        ("filter", {"condition": 1}),
        ("aggregate", {"measures": []}),
        ("aggregate", {"measures": [{"function": "mean", "column": "x"}]}),
        ("aggregate", {"measures": [{"function": "sum"}]}),
        ("normalize", {"columns": [], "method": "robust"}),
        ("normalize", {"columns": 5}),
        ("deduplicate", {"keys": {"a": 1}}),
        ("normalize", {"columns": ["x"], "method": "log"}),
        ("deduplicate", {"keys": ["id"], "order_by": [{"column": "x", "direction": "down"}]}),
        ("profile", {"columns": ["x"]}),
        ("aggregate_revenue", {"currencies": ["EUR"]}),
        ("sql", {"query": "SELECT 1", "views": {}}),
    ],
)
def test_bad_parameters_are_refused_by_schema_and_code(orders: DataFrame, action: str, parameters: dict[str, Any]) -> None:
    schema = Catalog.load(DEFAULT_FOLDER).actions[action].parameters
    assert list(Draft202012Validator(schema).iter_errors(parameters))
    with pytest.raises(InvalidParameter):
        apply(action, parameters, orders)


@pytest.mark.parametrize(
    ("action", "parameters", "error"),
    [
        ("aggregate", {"group_by": ["shpo"], "measures": [{"function": "count"}]}, UnknownColumn),
        ("aggregate", {"measures": [{"function": "sum", "column": "shop"}]}, WrongType),
        ("aggregate", {"measures": [{"function": "count"}, {"function": "count", "name": "COUNT"}]}, InvalidParameter),
        ("normalize", {"columns": ["shop"]}, WrongType),
        ("normalize", {"columns": ["nope"]}, UnknownColumn),
        ("deduplicate", {"keys": ["tags"]}, WrongType),
        ("deduplicate", {"keys": ["id"], "order_by": ["nope desc"]}, UnknownColumn),
        ("aggregate_revenue", {"amount": "price"}, UnknownColumn),
        ("aggregate_revenue", {"amount": "date"}, WrongType),
        ("aggregate_revenue", {"date": "id"}, WrongType),
        ("aggregate_revenue", {"currency": "GBP"}, InvalidValues),
        ("filter", {"condition": "x > 1 AND rand() > 0"}, QueryRefused),
        ("filter", {"condition": "user = 'root'"}, QueryRefused),
        ("sql", {"query": "SELECT * FROM other"}, QueryRefused),
    ],
)
def test_parameters_that_do_not_fit_the_data(orders: DataFrame, action: str, parameters: dict[str, Any], error: type[JobError]) -> None:
    with pytest.raises(error):
        apply(action, parameters, orders)


def test_the_nearest_columns_are_named(orders: DataFrame) -> None:
    with pytest.raises(UnknownColumn, match="did you mean `amount`"):
        apply("normalize", {"columns": "amuont"}, orders)


def test_filter(orders: DataFrame) -> None:
    kept = apply("filter", {"condition": "x > 2"}, orders).rows
    assert [row["id"] for row in kept.collect()] == [2]
    assert kept.schema == orders.schema


def test_filter_needs_a_truth_value(orders: DataFrame) -> None:
    with pytest.raises(PySparkException, match="DATATYPE_MISMATCH"):
        apply("filter", {"condition": "id"}, orders)


def test_aggregate(orders: DataFrame) -> None:
    functions = ["count", "count_distinct", "sum", "avg", "min", "max", "stddev", "median"]
    measures = [{"function": each, "column": column} for column in ("x", "amount", "id") for each in functions]
    rows = apply("aggregate", {"group_by": ["shop"], "measures": [{"function": "count"}, *measures]}, orders).rows
    found = {row["shop"]: row.asDict() for row in rows.collect()}
    a, b = found["a"], found["b"]
    assert (a["count"], a["sum_x"], a["avg_x"], a["median_x"]) == (2, 4.0, 2.0, 2.0)
    assert a["stddev_x"] == pytest.approx(0.5**0.5)
    assert (a["sum_amount"], a["avg_amount"], a["median_amount"]) == (Decimal("15.50"), Decimal("7.750000"), Decimal("7.750"))
    assert (a["sum_id"], a["avg_id"], a["median_id"]) == (3, 1.5, 1.5)
    assert [b[f"{each}_x"] for each in functions] == [0, 0, None, None, None, None, None, None]
    assert (b["count"], b["count_distinct_id"], b["stddev_id"]) == (2, 1, 0.0)


def test_aggregate_does_not_depend_on_partitions(spark: SparkSession) -> None:
    rows = spark.sql("SELECT id % 5 AS k, id * 0.1D + 1e6 * (id % 7) AS x FROM range(20000)")
    wanted = {"group_by": "k", "measures": [{"function": each, "column": "x"} for each in ("sum", "avg", "stddev", "median")]}
    assert len({fingerprint(apply("aggregate", wanted, rows.repartition(n)).rows) for n in (1, 2, 9)}) == 1


def test_sums_that_overflow_fail(spark: SparkSession) -> None:
    rows = spark.sql("SELECT 9223372036854775807L AS x FROM range(2)")
    with pytest.raises(PySparkException, match="ARITHMETIC_OVERFLOW"):
        apply("aggregate", {"measures": [{"function": "sum", "column": "x"}]}, rows).rows.collect()


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("min_max", [0.0, 0.25, 1.0, None]),
        ("z_score", [-0.9805806756909202, -0.39223227027636803, 1.3728129459672884, None]),
        ("robust", [-0.5, 0.0, 1.5, None]),
    ],
)
def test_normalize(spark: SparkSession, method: str, expected: list[float | None]) -> None:
    rows = spark.createDataFrame(
        [(1, 5, Decimal(3)), (2, 5, Decimal(3)), (5, 5, Decimal(3)), (None, 5, None)], "x int, same int, d decimal(5,1)"
    )
    found = apply("normalize", {"columns": ["x", "same", "d"], "method": method}, rows).rows
    assert found.columns == rows.columns
    assert [row["x"] for row in found.collect()] == [None if each is None else pytest.approx(each) for each in expected]
    assert [row["same"] for row in found.collect()] == [0.0] * 4
    assert [row["d"] for row in found.collect()] == [0.0] * 3 + [None]


def test_normalize_refuses_what_has_no_place_on_a_scale(spark: SparkSession) -> None:
    rows = spark.createDataFrame([(1.0,), (float("nan"),), (float("inf"),)], "x double")
    with pytest.raises(InvalidValues, match="`x` has 2"):
        apply("normalize", {"columns": ["x"]}, rows)


def test_sql(orders: DataFrame) -> None:
    query = "SELECT o.shop, sum(o.amount) AS total FROM orders o JOIN shops s ON o.shop = s.shop GROUP BY o.shop"
    shops = orders.select("shop").distinct()
    rows = ACTIONS["sql"].apply({"orders": orders, "shops": shops}, {"query": query, "inputs": {"orders": "a", "shops": "b"}}).rows
    assert sorted(map(tuple, rows.collect())) == [("a", Decimal("15.50")), ("b", Decimal("14.00"))]


def test_deduplicate_keeps_the_first(orders: DataFrame) -> None:
    assert [row[0] for row in result("deduplicate", {"keys": ["shop"]}, orders)] == [1, 3]
    assert [row[0] for row in result("deduplicate", {"keys": "shop", "order_by": "amount"}, orders)] == [2, 3]
    assert [row[0] for row in result("deduplicate", {"keys": ["shop"], "order_by": ["id desc"]}, orders)] == [2, 3]
    assert [row[0] for row in result("deduplicate", {"keys": ["shop"], "order_by": [{"column": "x", "direction": "desc"}]}, orders)] == [
        2,
        3,
    ]


def test_deduplicate_breaks_ties_the_same_way_every_time(spark: SparkSession) -> None:
    rows = spark.sql("SELECT id % 10 AS k, id AS v, map('m', id) AS tags FROM range(1000)")
    kept = {fingerprint(apply("deduplicate", {"keys": ["k"], "order_by": ["k"]}, rows.repartition(n)).rows) for n in (1, 4, 7)}
    assert len(kept) == 1


def test_null_is_a_key(spark: SparkSession) -> None:
    rows = spark.createDataFrame([(None, 1), (None, 2), (1, 3)], "k int, v int")
    assert result("deduplicate", {"keys": ["k"]}, rows) == [(1, 3), (None, 1)]


def test_profile(orders: DataFrame) -> None:
    found = {row["column"]: row for row in apply("profile", {}, orders).rows.collect()}
    assert [row["position"] for row in found.values()] == list(range(1, 8))
    amount = found["amount"].asDict()
    assert amount == {
        "position": 4,
        "column": "amount",
        "type": "decimal(4,2)",
        "rows": 4,
        "nulls": 0,
        "distinct_approximate": 3,
        "min": "5.30",
        "max": "10.20",
        "mean": 7.375,
        "stddev": pytest.approx(2.0467453839368166),
    }
    assert (found["x"]["nulls"], found["tags"]["distinct_approximate"], found["tags"]["min"]) == (2, None, None)


def test_profile_of_nothing(orders: DataFrame) -> None:
    [first, *_] = apply("profile", {}, orders.limit(0)).rows.orderBy("position").collect()
    assert (first["column"], first["rows"], first["nulls"], first["mean"]) == ("id", 0, 0, None)


def test_revenue_never_mixes_currencies(orders: DataFrame) -> None:
    october, november = datetime.date(2024, 10, 1), datetime.date(2024, 11, 1)
    assert result("aggregate_revenue", {}, orders) == [(october, "EUR", Decimal("15.50"), 2), (november, "USD", Decimal("14.00"), 2)]


def test_revenue_of_one_currency(orders: DataFrame) -> None:
    outcome = apply("aggregate_revenue", {"currency": "EUR", "by": ["shop"], "period": "year"}, orders)
    assert [tuple(row) for row in outcome.rows.collect()] == [("a", datetime.date(2024, 1, 1), "EUR", Decimal("15.50"), 2)]
    assert outcome.quality["other_currency_rows"] == 2


@pytest.mark.parametrize("kind", ["double", "string", "decimal(10,2)"])
def test_revenue_is_exact_whatever_the_type(spark: SparkSession, kind: str) -> None:
    rows = spark.sql(f"SELECT cast('0.10' AS {kind}) AS amount FROM range(1000)")
    [(currency, revenue, count)] = result("aggregate_revenue", {"currency": "EUR"}, rows)
    assert (currency, revenue, count) == ("EUR", Decimal("100"), 1000)


@pytest.fixture(scope="module")
def messy(spark: SparkSession) -> DataFrame:
    rows = [
        ("12.50", "2024-01-02"),
        ("1,5", "2024-01-03"),
        (None, "2024-02-30"),
        ("-1", None),
        ("1e3", "2024-01-01"),
        ("1.2345678", "2024-01-01"),
    ]
    return spark.createDataFrame(rows, "amount string, date string")


def test_values_that_do_not_parse_are_refused(messy: DataFrame) -> None:
    with pytest.raises(InvalidValues, match=r"3 values of `amount` are not amounts, for example `1,5`"):
        apply("aggregate_revenue", {}, messy)


def test_values_that_do_not_parse_are_set_aside_on_request(messy: DataFrame) -> None:
    outcome = apply("aggregate_revenue", {"on_invalid": "reject"}, messy)
    assert {tuple(row) for row in outcome.rows.collect()} == {(datetime.date(2024, 1, 1), Decimal("12.5"), 1), (None, Decimal(-1), 1)}
    assert outcome.rejected is not None
    assert sorted((row["amount"], row["date"], row["_reason"]) for row in outcome.rejected.na.fill("").collect()) == [
        ("", "2024-02-30", "`date` is not a date"),
        ("1,5", "2024-01-03", "`amount` is not an amount"),
        ("1.2345678", "2024-01-01", "`amount` is not an amount"),
        ("1e3", "2024-01-01", "`amount` is not an amount"),
    ]
    assert outcome.quality == {"rejected_rows": 4, "null_amounts": 1, "other_currency_rows": 0}


def test_clean_rows_make_no_dataset_of_refused_ones(orders: DataFrame) -> None:
    assert apply("aggregate_revenue", {"on_invalid": "reject"}, orders).rejected is None
