"""`aggregate_revenue`: exact sums of money per group and period."""

from typing import Any, Literal, NamedTuple

from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_jobs import exact
from spark_jobs.actions.base import Action, Inputs, Names, Outcome, Parameters, only
from spark_jobs.columns import column, field_of, fields_of, require_distinct
from spark_jobs.errors import InvalidValues, WrongType

CURRENCY, DATE, REASON = "currency", "date", "_reason"
_MONEY = T.DecimalType(28, 6)  # its sum is decimal(38,6)
_MONEY_TEXT = r"^\s*[+-]?[0-9]{1,22}(\.[0-9]{1,6})?\s*$"
_DATE_TEXT = r"^\s*[0-9]{4}-[0-9]{2}-[0-9]{2}([T ].*)?$"


class AggregateRevenue(Parameters):
    """What to add up, and for which groups.

    `amount`: the column of amounts. `date`: the column of dates; by default `date`, when there is one. `by`: more key columns.
    `period`: what dates are cut to. `currency`: a code such as `EUR`; see `aggregate_revenue`. `on_invalid`: whether amounts
    and dates that do not parse fail the run, or go to a dataset of their own.
    """

    amount: str = "amount"
    date: str | None = None
    by: Names = ()
    period: Literal["day", "month", "quarter", "year"] = "month"
    currency: str | None = None
    on_invalid: Literal["fail", "reject"] = "fail"


class Parsed(NamedTuple):
    """A column read as another type: its value, and whether it is there but cannot be read (never null)."""

    value: Column
    invalid: Column


def aggregate_revenue(inputs: Inputs, parameters: AggregateRevenue) -> Outcome:
    """One row per group: `by`, the period (a date, its first day), `currency`, `revenue` (decimal), `count` of amounts.

    Amounts may be decimals, integers, floating-point numbers (taken at six decimals) or text such as `-12.50`. Nulls are
    left out and counted in `quality`. Amounts of different currencies are never added: when there is a column `currency`,
    the parameter picks one of them, and without the parameter it is one more key. Without such a column all amounts are
    taken to be of the currency that the parameter names.
    """
    rows = only(inputs)
    amount = _amount(field_of(rows, parameters.amount))
    day = _day(rows, parameters.date)
    keys = {field.name: column(field.name) for field in fields_of(rows, parameters.by)}
    require_distinct(parameters.by, "`by`")
    if day is not None:
        keys[parameters.period] = F.trunc(day.value, parameters.period) if parameters.period != "day" else day.value
    wanted = _currency(rows, parameters.currency, keys)
    require_distinct([*keys, "revenue", "count"], "the result")

    invalid = amount.invalid if day is None else amount.invalid | day.invalid
    quality = _examine(rows, parameters, amount, invalid, wanted)
    rejected = _rejected(rows, parameters, amount, invalid) if quality["rejected_rows"] else None
    result = (
        rows.where(~invalid & wanted)
        .groupBy(*(key.alias(name) for name, key in keys.items()))
        .agg(F.sum(amount.value).alias("revenue"), F.count(amount.value).alias("count"))
    )
    return Outcome(result, rejected, quality)


def _amount(field: T.StructField) -> Parsed:
    value = column(field.name)
    match field.dataType:
        case T.DecimalType():
            return Parsed(value, F.lit(False))
        case T.IntegralType():
            return Parsed(value.cast("decimal(20,0)"), F.lit(False))
        case T.FloatType() | T.DoubleType():
            fits = exact.is_finite(value) & (F.abs(value) < F.lit(1e22))
        case T.StringType():
            fits = value.rlike(_MONEY_TEXT)
        case other:
            raise WrongType(f"amounts are numbers or text; the column `{field.name}` is {other.simpleString()}")
    return Parsed(F.when(fits, value).cast(_MONEY), F.coalesce(~fits, F.lit(False)))


def _day(rows: DataFrame, name: str | None) -> Parsed | None:
    if name is None and DATE not in rows.columns:
        return None
    field = field_of(rows, name or DATE)
    value = column(field.name)
    match field.dataType:
        case T.DateType() | T.TimestampType() | T.TimestampNTZType():
            return Parsed(value.cast("date"), F.lit(False))
        case T.StringType():
            parsed = F.when(value.rlike(_DATE_TEXT), value.try_cast("timestamp")).cast("date")
            return Parsed(parsed, value.isNotNull() & parsed.isNull())
        case other:
            raise WrongType(f"dates are dates, timestamps or ISO text; the column `{field.name}` is {other.simpleString()}")


def _currency(rows: DataFrame, wanted: str | None, keys: dict[str, Column]) -> Column:
    """Add the currency to `keys`, where there is one; returns the condition for the rows that count."""
    if CURRENCY not in rows.columns:
        if wanted is not None:
            keys[CURRENCY] = F.lit(wanted)
        return F.lit(True)
    keys[CURRENCY] = column(CURRENCY)
    return F.lit(True) if wanted is None else column(CURRENCY).eqNullSafe(F.lit(wanted))


def _examine(rows: DataFrame, parameters: AggregateRevenue, amount: Parsed, invalid: Column, wanted: Column) -> dict[str, Any]:
    """Count what is left out.

    Raises:
        InvalidValues: there are invalid rows, and they are not to be rejected; or no row has the wanted currency.
    """
    source = column(parameters.amount)
    [found] = rows.agg(
        F.count(F.lit(1)).alias("rows"),
        F.count_if(invalid).alias("rejected_rows"),
        F.count_if(source.isNull()).alias("null_amounts"),
        F.count_if(~wanted).alias("other_currency_rows"),
        F.count_if(amount.invalid).alias("invalid_amounts"),
        F.min(F.when(amount.invalid, source.cast("string"))).alias("example"),
    ).collect()
    if found["rejected_rows"] and parameters.on_invalid == "fail":
        raise InvalidValues(_complaint(parameters, found))
    if found["rows"] and found["rows"] == found["other_currency_rows"]:
        raise InvalidValues(f"no row has the currency `{parameters.currency}`: check the parameter `currency`")
    return {name: found[name] for name in ("rejected_rows", "null_amounts", "other_currency_rows")}


def _complaint(parameters: AggregateRevenue, found: Row) -> str:
    advice = 'mend the input, or set `on_invalid` to "reject" to put such rows into a dataset of their own'
    if found["invalid_amounts"]:
        return f"{found['invalid_amounts']:,} values of `{parameters.amount}` are not amounts, for example `{found['example']}`: {advice}"
    return f"{found['rejected_rows']:,} values of `{parameters.date or DATE}` are not dates: {advice}"


def _rejected(rows: DataFrame, parameters: AggregateRevenue, amount: Parsed, invalid: Column) -> DataFrame:
    """The invalid rows as they came, with the reason."""
    require_distinct([*rows.columns, REASON], "the dataset of rejected rows")
    reason = F.when(amount.invalid, F.lit(f"`{parameters.amount}` is not an amount")).otherwise(
        F.lit(f"`{parameters.date or DATE}` is not a date")
    )
    return rows.where(invalid).withColumn(REASON, reason)


AGGREGATE_REVENUE = Action(AggregateRevenue, aggregate_revenue)
