"""Sums of doubles that do not depend on the order of addition."""

import math
import random
from fractions import Fraction

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from spark_jobs import exact


def total(rows: DataFrame) -> float | None:
    return rows.agg(exact.exact_sum(F.col("x"), exact.exponents(rows, ["x"])["x"])).first()[0]


def frame(spark: SparkSession, values: list[float | None], partitions: int = 1) -> DataFrame:
    return spark.createDataFrame([(value,) for value in values], "x double").repartition(partitions)


@pytest.mark.parametrize("magnitude", [1.0, 1e-300, 1e300, 1e-5])
def test_as_if_added_exactly_and_rounded_once(spark: SparkSession, magnitude: float) -> None:
    random.seed(7)
    values = [random.uniform(-1, 1) * magnitude * 10 ** random.randint(-6, 0) for _ in range(2000)]
    assert total(frame(spark, values)) == pytest.approx(float(sum(map(Fraction, values))), rel=1e-15)


def test_partitions_do_not_matter(spark: SparkSession) -> None:
    values = [0.1 * n + 1e6 * (n % 7) for n in range(5000)]
    assert len({total(frame(spark, values, partitions)) for partitions in (1, 3, 11)}) == 1


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.1] * 10, 1.0),
        ([1e16, 1.0, -1e16], 1.0),
        ([None, None], None),
        ([0.0, -0.0], 0.0),
        ([math.inf, 1.0], math.inf),
        ([-math.inf, None], -math.inf),
        ([5e-324, 5e-324], 1e-323),
        ([1.7e308, -1.7e308], 0.0),
    ],
)
def test_special_values(spark: SparkSession, values: list[float | None], expected: float | None) -> None:
    assert total(frame(spark, values)) == expected


@pytest.mark.parametrize("values", [[math.inf, -math.inf], [math.nan, 1.0]])
def test_not_a_number(spark: SparkSession, values: list[float | None]) -> None:
    found = total(frame(spark, values))
    assert found is not None
    assert math.isnan(found)


def test_standard_deviation_of_close_numbers(spark: SparkSession) -> None:
    rows = frame(spark, [1e9 + n for n in (4, 7, 13, 16)])
    exponents = exact.exponents(rows, ["x"])
    centred, names = exact.centred(rows, [], exponents)
    deviation = F.col(names["x"])
    found = centred.agg(exact.sample_deviation(deviation, exponents["x"]), exact.population_deviation(deviation, exponents["x"])).first()
    assert tuple(found) == (pytest.approx(math.sqrt(30), rel=1e-12), pytest.approx(math.sqrt(22.5), rel=1e-12))


@pytest.mark.parametrize("keys", [[], ["_Key_0"]])
def test_columns_may_have_any_names(spark: SparkSession, keys: list[str]) -> None:
    rows = spark.createDataFrame([(1.0, 2.0, 3.0), (1.0, 4.0, 7.0)], "_Key_0 double, _MEAN_0 double, _deviation_0 double")
    exponents = exact.exponents(rows, ["_MEAN_0", "_deviation_0"])
    centred, names = exact.centred(rows, keys, exponents)
    assert len({name.lower() for name in centred.columns}) == len(centred.columns)
    found = sorted(tuple(row) for row in centred.select(*names.values()).collect())
    assert found == [(-1.0, -2.0), (1.0, 2.0)]
