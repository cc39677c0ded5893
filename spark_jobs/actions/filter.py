"""`filter`: the rows for which a condition is true."""

from contracts.errors import SqlRefused
from contracts.sql_guard import check_condition
from spark_jobs.actions.base import Action, Inputs, Outcome, Parameters, only
from spark_jobs.errors import QueryRefused
from spark_jobs.plan_guard import checked_condition


class Filter(Parameters):
    """`condition`: a Spark SQL expression over the columns; rows for which it is null are left out."""

    condition: str


def filter_rows(inputs: Inputs, parameters: Filter) -> Outcome:
    """Keep the rows for which the condition is true. Same columns."""
    rows = only(inputs)
    try:
        check_condition(parameters.condition)
    except SqlRefused as error:
        raise QueryRefused(str(error)) from error
    return Outcome(checked_condition(rows, parameters.condition))


FILTER = Action(Filter, filter_rows)
