"""`sql`: one SELECT over the declared inputs."""

from contracts.errors import SqlRefused
from contracts.sql_guard import check_query
from spark_jobs.actions.base import Action, Inputs, Outcome, Parameters
from spark_jobs.errors import QueryRefused
from spark_jobs.plan_guard import checked_query


class Sql(Parameters):
    """`query`: the SELECT; `inputs`: which dataset each view shows, already resolved by the control plane."""

    query: str
    inputs: dict[str, str] = {}


def run_sql(inputs: Inputs, parameters: Sql) -> Outcome:
    """The result of the query, in which each input is a view of its name."""
    try:
        check_query(parameters.query, inputs.keys())
    except SqlRefused as error:
        raise QueryRefused(str(error)) from error
    spark = next(iter(inputs.values())).sparkSession
    for view, rows in inputs.items():
        rows.createOrReplaceTempView(view)
    return Outcome(checked_query(spark, parameters.query, inputs.keys()))


# A query over nothing may well have an answer, such as a count of 0.
SQL = Action(Sql, run_sql, takes_empty=True)
