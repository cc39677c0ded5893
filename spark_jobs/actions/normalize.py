"""`normalize`: put numeric columns on a common scale."""

from collections.abc import Callable, Iterable
from itertools import chain
from typing import Annotated, Literal

from pydantic import Field
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from spark_jobs import exact
from spark_jobs.actions.base import Action, Inputs, Names, Outcome, Parameters, only
from spark_jobs.columns import column, fields_of, require_distinct, require_numeric
from spark_jobs.errors import InvalidValues

Method = Literal["min_max", "z_score", "robust"]


class Normalize(Parameters):
    """`columns`: what to normalize, in place; `method`: how."""

    columns: Annotated[Names, Field(min_length=1)]
    method: Method = "z_score"


def normalize(inputs: Inputs, parameters: Normalize) -> Outcome:
    """Each of the columns becomes the double (x - centre) / width, with centre and width over all rows:

    - `min_max`: minimum; maximum - minimum. Results lie in [0, 1].
    - `z_score`: mean; population standard deviation.
    - `robust`: median; third - first quartile, interpolated linearly.

    Nulls stay null. A column of width 0 becomes 0. Other columns and the order of columns stay as they are.
    """
    rows = only(inputs)
    names = [field.name for field in fields_of(rows, parameters.columns)]
    require_distinct(names, "`columns`")
    for field in fields_of(rows, names):
        require_numeric(field, "`normalize`")
    _refuse_not_finite(rows, names)

    scales = _scales(rows, names, parameters.method)
    scaled = {name: _scale(column(name), *scales[name]) for name in names}
    return Outcome(rows.select(*(scaled.get(name, column(name)).alias(name) for name in rows.columns)))


def _scale(value: Column, centre: float | None, width: float | None) -> Column:
    value = value.cast("double")
    if centre is None or width is None:  # the column is null throughout
        return value
    if width == 0:
        return F.when(value.isNotNull(), F.lit(0.0))
    return (value - F.lit(centre)) / F.lit(width)


def _refuse_not_finite(rows: DataFrame, names: list[str]) -> None:
    counts = [F.count_if(~exact.is_finite(column(name))) for name in names]
    [found] = rows.agg(*(count.alias(f"_{number}") for number, count in enumerate(counts))).collect()
    bad = [f"`{name}` has {count:,}" for name, count in zip(names, found, strict=True) if count]
    if bad:
        raise InvalidValues(f"NaN and infinite values have no place on a scale: {', '.join(bad)}. Filter them out first.")


def _scales(rows: DataFrame, names: list[str], method: Method) -> dict[str, tuple[float | None, float | None]]:
    """Centre and width of each column; computed now, since every row needs them."""
    match method:
        case "min_max":
            centre_and_end = _collect(rows, names, lambda name: (F.min(column(name)), F.max(column(name))))
            return {name: (low, _difference(high, low)) for name, (low, high) in centre_and_end.items()}
        case "robust":
            quartiles = _collect(rows, names, lambda name: (F.percentile(column(name), q) for q in (0.25, 0.5, 0.75)))
            return {name: (middle, _difference(high, low)) for name, (low, middle, high) in quartiles.items()}
        case "z_score":
            return _means_and_deviations(rows, names)


def _means_and_deviations(rows: DataFrame, names: list[str]) -> dict[str, tuple[float | None, float | None]]:
    exponents = exact.exponents(rows, names)
    means = _collect(rows, names, lambda name: (exact.exact_mean(column(name), exponents[name]),))
    centred, deviations = exact.centred(rows, [], exponents)
    widths = _collect(centred, names, lambda name: (exact.population_deviation(column(deviations[name]), exponents[name]),))
    return {name: (means[name][0], widths[name][0]) for name in names}


def _collect(rows: DataFrame, names: list[str], statistics: Callable[[str], Iterable[Column]]) -> dict[str, list[float | None]]:
    """The `statistics` of each column as doubles, all in one pass."""
    wanted = {name: list(statistics(name)) for name in names}
    flat = [each.cast("double").alias(f"_{number}") for number, each in enumerate(chain.from_iterable(wanted.values()))]
    [found] = rows.agg(*flat).collect()
    values = iter(found)
    return {name: [next(values) for _ in each] for name, each in wanted.items()}


def _difference(high: float | None, low: float | None) -> float | None:
    return None if high is None or low is None else high - low


NORMALIZE = Action(Normalize, normalize)
