"""`top_values`: the rows with the largest values of a column, within each group."""

from pyspark.sql import Window
from pyspark.sql import functions as F

from spark_jobs.actions.base import Action, Inputs, Names, Outcome, Parameters, only
from spark_jobs.columns import column, field_of, fields_of, require_numeric


class TopValues(Parameters):
    """`by`: the column whose values count; `within`: columns that make a group; `most`: rows of each group."""

    by: str
    within: Names
    most: int = 10


def top_values(inputs: Inputs, parameters: TopValues) -> Outcome:
    """Keep the `most` rows of each group with the largest values. Equal values are told apart by all columns, so the result is fixed."""
    rows = only(inputs)
    require_numeric(field_of(rows, parameters.by), "`by`")
    groups = [column(field.name) for field in fields_of(rows, parameters.within)]
    order = [column(parameters.by).desc_nulls_last(), *(column(name) for name in rows.columns)]
    place = F.row_number().over(Window.partitionBy(*groups).orderBy(*order))
    return Outcome(rows.withColumn("_place", place).where(F.col("_place") <= parameters.most).drop("_place"))


TOP_VALUES = Action(TopValues, top_values)
