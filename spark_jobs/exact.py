"""Sums of floating-point numbers that do not depend on the order of addition.

Plain sums of doubles change in their last digits with every partitioning, and no rounding afterwards cures that: two close
sums can lie on both sides of a rounding border. So the numbers are scaled by a power of two, which is exact, to a common
magnitude, cut into integer limbs, which are added up exactly, and put together again. The one rounding left happens at the
end. What is 2⁻⁹³ of the largest number or less is lost; a double itself holds 2⁻⁵³.
"""

import math
from collections.abc import Mapping, Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_jobs.columns import column, fresh_names

_LIMB_BITS = 31
_LIMBS = 3
"""Limbs below 2³¹ add up to less than 2⁶³ for 2³² rows of a group; beyond, ANSI mode refuses the overflow."""
_TOTAL = T.DecimalType(38, 0)


def is_float(kind: T.DataType) -> bool:
    """Whether sums of `kind` depend on the order of addition."""
    return isinstance(kind, T.FloatType | T.DoubleType)


def exponents(rows: DataFrame, names: Sequence[str]) -> dict[str, int]:
    """For each numeric column the smallest `e` with |x| < 2^e for all its finite x. One pass over the rows, if any `names`."""
    if not names:
        return {}
    largest = [F.max(F.when(is_finite(column(name)), F.abs(column(name).cast("double")))) for name in names]
    [found] = rows.agg(*(each.alias(f"_{number}") for number, each in enumerate(largest))).collect()
    return {name: math.frexp(found[f"_{number}"] or 0.0)[1] for number, name in enumerate(names)}


def is_finite(value: Column) -> Column:
    """Neither NaN nor infinite; null for null. `value` is of any numeric type."""
    return F.abs(value.cast("double")) < F.lit(math.inf)


def exact_sum(value: Column, exponent: int) -> Column:
    """Aggregate: the sum of the doubles `value`, of which the finite ones are below 2^exponent. NaN and ∞ as IEEE has it.

    Type: double. Null when there is no value.
    """
    value = value.cast("double")
    finite = F.when(is_finite(value), value)
    total = F.lit(0).cast(_TOTAL)
    for limb in _limbs(_times_power_of_two(finite, _LIMB_BITS - exponent)):
        total = (total * F.lit(2**_LIMB_BITS) + F.sum(limb).cast(_TOTAL)).cast(_TOTAL)
    # Of NaN, +∞ and -∞ every order of addition gives the same.
    special = F.sum(F.when(~is_finite(value), value))
    return F.coalesce(special, _times_power_of_two(total.cast("double"), exponent - _LIMBS * _LIMB_BITS))


def _limbs(rest: Column) -> list[Column]:
    """The leading bits of a double below 2^31 in modulus as integers, most significant first; all of its sign."""
    limbs = []
    for _ in range(_LIMBS):
        limb = rest.cast("bigint")
        limbs.append(limb)
        rest = (rest - limb) * F.lit(float(2**_LIMB_BITS))
    return limbs


def exact_mean(value: Column, exponent: int) -> Column:
    """Aggregate: the mean, with the sum taken by `exact_sum`. Type: double."""
    return _ratio(exact_sum(value, exponent), F.count(value))


def exact_squares(value: Column, exponent: int) -> Column:
    """Aggregate: the sum of squares of the doubles `value`, of which the finite ones are below 2^exponent. Type: double.

    The scaling happens before the squaring, so that the square of a representable number cannot overflow on its way.
    """
    shrunk = _times_power_of_two(value.cast("double"), -exponent)
    return _times_power_of_two(exact_sum(shrunk * shrunk, 0), 2 * exponent)


def centred(rows: DataFrame, keys: Sequence[str], exponents: Mapping[str, int]) -> tuple[DataFrame, dict[str, str]]:
    """`rows` with a column x - mean(x of its group) for every x in `exponents`; also their names by x.

    Deviations are below 2^(exponent+1).
    """
    key_names = dict(zip(keys, fresh_names(rows, "_key_", len(keys)), strict=True))
    means = dict(zip(exponents, fresh_names(rows, "_mean_", len(exponents)), strict=True))
    deviations = dict(zip(exponents, fresh_names(rows, "_deviation_", len(exponents)), strict=True))
    groups = rows.groupBy(*(column(key).alias(name) for key, name in key_names.items())).agg(
        *(exact_mean(column(name), exponent).alias(means[name]) for name, exponent in exponents.items())
    )
    same_group = F.lit(True)
    for key, name in key_names.items():
        same_group &= column(key).eqNullSafe(column(name))
    joined = rows.join(groups, same_group) if keys else rows.crossJoin(F.broadcast(groups))
    return (
        joined.select(
            *(column(name) for name in rows.columns),
            *((column(name).cast("double") - column(means[name])).alias(deviations[name]) for name in exponents),
        ),
        deviations,
    )


def sample_deviation(deviation: Column, exponent: int) -> Column:
    """Aggregate: sample standard deviation (n - 1) from the deviations of `centred`. Null for fewer than two values."""
    return _deviation(deviation, exponent, F.count(deviation) - 1)


def population_deviation(deviation: Column, exponent: int) -> Column:
    """Aggregate: population standard deviation (n) from the deviations of `centred`. Null without values."""
    return _deviation(deviation, exponent, F.count(deviation))


def _deviation(deviation: Column, exponent: int, degrees: Column) -> Column:
    return F.sqrt(_ratio(exact_squares(deviation, exponent + 1), degrees))


def _ratio(dividend: Column, divisor: Column) -> Column:
    return F.when(divisor > 0, dividend / divisor)


def _times_power_of_two(value: Column, exponent: int) -> Column:
    """Exact, save for underflow. In two factors, since 2^1100 is not a double while x · 2^1100 may be one."""
    half = exponent // 2
    return value * F.lit(math.ldexp(1.0, half)) * F.lit(math.ldexp(1.0, exponent - half))
