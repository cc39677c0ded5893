"""`aggregate`: measures for each group of rows."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_jobs import exact
from spark_jobs.actions.base import Action, Inputs, Names, Outcome, Parameters, only
from spark_jobs.columns import column, field_of, fields_of, require_distinct, require_numeric
from spark_jobs.errors import InvalidParameter

NUMERIC = frozenset({"sum", "avg", "stddev", "median"})


class Measure(Parameters):
    """One result column. Without `column`, `count` counts rows; with it, the values that are not null."""

    function: Literal["count", "count_distinct", "sum", "avg", "min", "max", "stddev", "median"]
    column: str | None = None
    name: Annotated[str, Field(min_length=1)] | None = None

    @property
    def result(self) -> str:
        """Name of the result column."""
        return self.name or (self.function if self.column is None else f"{self.function}_{self.column}")


class Aggregate(Parameters):
    """`group_by`: key columns, none for one row over all; `measures`: what to compute for each group."""

    group_by: Names = ()
    measures: Annotated[list[Measure], Field(min_length=1)]


def aggregate(inputs: Inputs, parameters: Aggregate) -> Outcome:
    """One row per group: the keys, then the measures in their order."""
    rows = only(inputs)
    keys = [field.name for field in fields_of(rows, parameters.group_by)]
    require_distinct([*keys, *(measure.result for measure in parameters.measures)], "the result")
    for measure in parameters.measures:
        _check(rows, measure)

    exponents = exact.exponents(rows, _need_exponent(rows, parameters.measures))
    spread = {name: exponents[name] for name in exponents if _is_spread_of(name, parameters.measures)}
    deviations: dict[str, str] = {}
    if spread:
        rows, deviations = exact.centred(rows, keys, spread)
    measures = [_measure(rows, measure, exponents, deviations).alias(measure.result) for measure in parameters.measures]
    return Outcome(rows.groupBy(*map(column, keys)).agg(*measures))


def _check(rows: DataFrame, measure: Measure) -> None:
    if measure.column is None:
        if measure.function != "count":
            raise InvalidParameter(f"the measure `{measure.result}` needs a column: only `count` does without")
        return
    field = field_of(rows, measure.column)
    if measure.function in NUMERIC:
        require_numeric(field, f"`{measure.function}`")


def _is_spread_of(name: str, measures: Sequence[Measure]) -> bool:
    return any(measure.function == "stddev" and measure.column == name for measure in measures)


def _need_exponent(rows: DataFrame, measures: Sequence[Measure]) -> list[str]:
    needed = [
        measure.column
        for measure in measures
        if measure.column is not None
        and (measure.function == "stddev" or (measure.function in ("sum", "avg") and exact.is_float(_type(rows, measure.column))))
    ]
    return list(dict.fromkeys(needed))


def _type(rows: DataFrame, name: str) -> T.DataType:
    return field_of(rows, name).dataType


def _measure(rows: DataFrame, measure: Measure, exponents: dict[str, int], deviations: dict[str, str]) -> Column:
    if measure.column is None:
        return F.count(F.lit(1))
    name, value, kind = measure.column, column(measure.column), _type(rows, measure.column)
    match measure.function:
        case "count":
            return F.count(value)
        case "count_distinct":
            return F.count_distinct(value)
        case "sum":
            return exact.exact_sum(value, exponents[name]) if exact.is_float(kind) else F.sum(value)
        case "avg":
            return _mean(value, kind, exponents.get(name))
        case "min":
            return F.min(value)
        case "max":
            return F.max(value)
        case "stddev":
            return exact.sample_deviation(column(deviations[name]), exponents[name])
        case "median":
            return _median(value, kind)


def _mean(value: Column, kind: T.DataType, exponent: int | None) -> Column:
    if exponent is not None and exact.is_float(kind):
        return exact.exact_mean(value, exponent)
    if isinstance(kind, T.DecimalType):
        return F.avg(value)
    # Spark averages integers in doubles; their sum as a decimal is exact.
    return (F.sum(value.cast("decimal(20,0)")).cast("double") / F.nullif(F.count(value), F.lit(0))).cast("double")


def _median(value: Column, kind: T.DataType) -> Column:
    """The middle value, or the mean of the two in the middle. Decimals get one digit more, which halving may need."""
    if isinstance(kind, T.DecimalType):
        wider = T.DecimalType(min(kind.precision + 1, 38), min(kind.scale + 1, 38))
        return F.median(value).cast(wider)
    return F.median(value)


AGGREGATE = Action(Aggregate, aggregate)
