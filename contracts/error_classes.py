"""Which failure may pass: one table for all parts. A class that is not in it is Spark's or an action's own, and does not pass by itself."""

from enum import StrEnum


class Remedy(StrEnum):
    """What another try is good for."""

    NEVER = "never"
    AGAIN = "again"
    WAIT = "wait"


REMEDY_MEANING: dict[Remedy, str] = {
    Remedy.NEVER: "The same again would fail the same: somebody has to change something first.",
    Remedy.AGAIN: "It may pass: tried again, as often as the action's `max_attempts` says.",
    Remedy.WAIT: "There is no room for it now, or no way into its namespace: tried again later, without using up `max_attempts`, for as"
    " long as `start_before_seconds`.",
}

_R = Remedy
REMEDIES: dict[str, Remedy] = {
    # the request, its data, or what an operator has set up
    "CORRUPT_INPUT": _R.NEVER,
    "DATATYPE_MISMATCH": _R.NEVER,
    "EMPTY_INPUT": _R.NEVER,
    "IMAGE_NOT_ALLOWED": _R.NEVER,
    "IMAGE_UNAVAILABLE": _R.NEVER,
    "INPUT_CHANGED": _R.NEVER,
    "INVALID_COMMAND": _R.NEVER,
    "INVALID_PARAMETER": _R.NEVER,
    "INVALID_VALUES": _R.NEVER,
    "JOB_FAILED": _R.NEVER,
    "JOB_REFUSED": _R.NEVER,
    "NO_NAMESPACE": _R.NEVER,
    "PROPOSAL_REJECTED": _R.NEVER,
    "QUERY_REFUSED": _R.NEVER,
    "RESOURCES_OUT_OF_BOUNDS": _R.NEVER,
    "STORAGE_REFUSED": _R.NEVER,
    "STORAGE_UNTRUSTED": _R.NEVER,
    "UNKNOWN_ACTION": _R.NEVER,
    "UNRESOLVED_COLUMN.WITH_SUGGESTION": _R.NEVER,
    # time that was given and is used up
    "START_DEADLINE": _R.NEVER,
    "TIME_LIMIT": _R.NEVER,
    # what a run stands on
    "DRIVER_FAILED": _R.AGAIN,
    "DRIVER_KILLED": _R.AGAIN,
    "DRIVER_VANISHED": _R.AGAIN,
    "EVICTED": _R.AGAIN,
    "EXECUTORS_UNAVAILABLE": _R.AGAIN,
    "EXECUTOR_LOST": _R.AGAIN,
    "JOB_ABSENT": _R.AGAIN,
    "JOB_LOST": _R.AGAIN,
    "KUBERNETES_UNAVAILABLE": _R.AGAIN,
    "NO_REPORT": _R.AGAIN,
    "NO_SPACE": _R.AGAIN,
    "OUTPUT_MISMATCH": _R.AGAIN,
    "OUT_OF_MEMORY": _R.AGAIN,
    "PENDING_LIMIT": _R.AGAIN,
    "SPARK_FAILED": _R.AGAIN,
    "SPARK_LOST": _R.AGAIN,
    "STALLED": _R.AGAIN,
    "STORAGE_UNAVAILABLE": _R.AGAIN,
    "TERMINATED": _R.AGAIN,
    "UNEXPECTED_ERROR": _R.AGAIN,
    # room that others have, and what a tenant's namespace lacks until somebody mends it
    "NAMESPACE_UNAVAILABLE": _R.WAIT,
    "QUOTA_EXCEEDED": _R.WAIT,
}


def remedy(error_class: str, also: tuple[str, ...] = ()) -> Remedy:
    """What another try is good for after `error_class`. `also`: classes of an action's own that its catalog entry lets pass."""
    return REMEDIES.get(error_class, Remedy.AGAIN if error_class in also else Remedy.NEVER)


def may_pass(error_class: str) -> bool:
    """Whether the same work may succeed on another try."""
    return remedy(error_class) is not Remedy.NEVER
