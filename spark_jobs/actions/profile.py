"""`profile`: what is in the columns, one row each."""

from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_jobs import exact
from spark_jobs.actions.base import Action, Inputs, Outcome, Parameters, only
from spark_jobs.columns import column

_NESTED = T.ArrayType | T.MapType | T.StructType | T.VariantType


class Profile(Parameters):
    """No parameters."""


def profile(inputs: Inputs, _: Profile) -> Outcome:
    """One row per column of the input:

    - `position` (from 1), `column`, `type`, `rows`, `nulls`;
    - `distinct_approximate`: HyperLogLog++, within about 2 %; null for nested types;
    - `min`, `max`: as text; null for nested types and binaries;
    - `mean`, `stddev` (sample): of numbers, as doubles.
    """
    rows = only(inputs)
    numeric = [field.name for field in rows.schema.fields if isinstance(field.dataType, T.NumericType)]
    exponents = exact.exponents(rows, numeric)
    rows, deviations = exact.centred(rows, [], exponents) if numeric else (rows, {})
    fields = [field for field in rows.schema.fields if field.name not in deviations.values()]

    described = [_describe(field, exponents, deviations) for field in fields]
    flat = rows.agg(*(each.alias(f"_{number}") for number, each in enumerate(described)))
    lines = F.array(
        *(
            F.struct(
                F.lit(number + 1).alias("position"),
                F.lit(field.name).alias("column"),
                F.lit(field.dataType.simpleString()).alias("type"),
                F.col(f"_{number}.*"),
            )
            for number, field in enumerate(fields)
        )
    )
    return Outcome(flat.select(F.inline(lines)))


def _describe(field: T.StructField, exponents: dict[str, int], deviations: dict[str, str]) -> Column:
    """Aggregate: everything about one column in one struct."""
    value, kind, name = column(field.name), field.dataType, field.name
    nothing = F.lit(None)
    is_nested = isinstance(kind, _NESTED)
    has_text = not is_nested and not isinstance(kind, T.BinaryType | T.NullType)
    is_numeric = name in exponents
    return F.struct(
        F.count(F.lit(1)).alias("rows"),
        F.count_if(value.isNull()).alias("nulls"),
        (nothing if is_nested else F.approx_count_distinct(value, 0.02)).cast("bigint").alias("distinct_approximate"),
        (F.min(value) if has_text else nothing).cast("string").alias("min"),
        (F.max(value) if has_text else nothing).cast("string").alias("max"),
        (exact.exact_mean(value, exponents[name]) if is_numeric else nothing).cast("double").alias("mean"),
        (exact.sample_deviation(column(deviations[name]), exponents[name]) if is_numeric else nothing).cast("double").alias("stddev"),
    )


PROFILE = Action(Profile, profile, takes_empty=True)
