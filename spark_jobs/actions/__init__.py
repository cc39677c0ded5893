"""The actions: pure functions from input rows to output rows, one file each, and the table that names them."""

from typing import Any

from spark_jobs.actions.aggregate import AGGREGATE
from spark_jobs.actions.aggregate_revenue import AGGREGATE_REVENUE
from spark_jobs.actions.base import Action, Outcome
from spark_jobs.actions.deduplicate import DEDUPLICATE
from spark_jobs.actions.filter import FILTER
from spark_jobs.actions.normalize import NORMALIZE
from spark_jobs.actions.profile import PROFILE
from spark_jobs.actions.sql import SQL

ACTIONS: dict[str, Action[Any]] = {
    "aggregate": AGGREGATE,
    "aggregate_revenue": AGGREGATE_REVENUE,
    "deduplicate": DEDUPLICATE,
    "filter": FILTER,
    "normalize": NORMALIZE,
    "profile": PROFILE,
    "sql": SQL,
}

__all__ = ["ACTIONS", "Action", "Outcome"]
