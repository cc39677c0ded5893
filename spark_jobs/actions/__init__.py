"""The actions: pure functions from input rows to output rows, one file each, and the table that names them.

Installed packages bring more: each entry point of the group `stratum.actions` is named as its action and leads to an `Action`.
"""

from importlib.metadata import entry_points
from typing import Any

from spark_jobs.actions.aggregate import AGGREGATE
from spark_jobs.actions.aggregate_revenue import AGGREGATE_REVENUE
from spark_jobs.actions.base import Action, Outcome
from spark_jobs.actions.deduplicate import DEDUPLICATE
from spark_jobs.actions.filter import FILTER
from spark_jobs.actions.normalize import NORMALIZE
from spark_jobs.actions.profile import PROFILE
from spark_jobs.actions.sql import SQL
from spark_jobs.errors import InvalidCommand

ACTIONS: dict[str, Action[Any]] = {
    "aggregate": AGGREGATE,
    "aggregate_revenue": AGGREGATE_REVENUE,
    "deduplicate": DEDUPLICATE,
    "filter": FILTER,
    "normalize": NORMALIZE,
    "profile": PROFILE,
    "sql": SQL,
}

GROUP = "stratum.actions"
"""The entry points of other packages' actions."""


def find_action(name: str) -> Action[Any]:
    """The action called `name`. One that was installed beside ours goes before ours of the same name.

    Raises:
        InvalidCommand: there is none, or the installed one is not an action.
    """
    installed = entry_points(group=GROUP)
    if name not in installed.names:
        if name in ACTIONS:
            return ACTIONS[name]
        raise InvalidCommand(f"this image has no action {name!r}; it has {', '.join(sorted({*ACTIONS, *installed.names}))}")
    try:
        found = installed[name].load()
    except (ImportError, AttributeError) as error:
        raise InvalidCommand(f"the action {name!r} of this image cannot be loaded: {installed[name].value}: {error}") from error
    if not isinstance(found, Action):
        raise InvalidCommand(f"the action {name!r} of this image is no Action: {installed[name].value}")
    return found


__all__ = ["ACTIONS", "Action", "Outcome", "find_action"]
