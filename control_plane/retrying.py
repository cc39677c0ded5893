"""Whether a step is tried again, and when. Pure: the answer is decided once, and stored with the next attempt."""

import random
from dataclasses import dataclass

from contracts.catalog import Limits, Retry
from contracts.error_classes import Remedy, remedy


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of the step's attempts up to this one. `waited_seconds`: since none found room."""

    failures: int
    waits: int
    waited_seconds: float
    has_run: bool


@dataclass(frozen=True, slots=True)
class Again:
    """The next attempt: how long to wait for it, and the counts that it begins with."""

    delay_seconds: float
    failures: int
    waits: int


def following(limits: Limits, tried: Tried, error_class: str, default_delay_seconds: float, *, claimed: bool) -> Again | None:
    """The next attempt after one that ended with `error_class`; None: there is none.

    `claimed`: whether who reported the end takes it to be something that may pass. It can only make the table's answer stricter.
    """
    wanted = remedy(error_class, limits.retry.also)
    if not claimed or wanted is Remedy.NEVER:
        return None
    # want of room is the launcher's to tell: a run had its room, and its word must not buy it tries without end
    if wanted is Remedy.WAIT and not tried.has_run:
        if tried.waited_seconds >= limits.start_before_seconds:
            return None
        return Again(delay(limits.retry, tried.waits, default_delay_seconds), tried.failures, tried.waits + 1)
    failures = tried.failures + 1
    if failures >= limits.max_attempts:
        return None
    return Again(delay(limits.retry, tried.failures, default_delay_seconds), failures, 0)


def delay(retry: Retry, earlier: int, default_seconds: float) -> float:
    """Seconds before the next attempt, after so many `earlier` ones of its kind: exponential, capped, spread."""
    base = default_seconds if retry.delay_seconds is None else retry.delay_seconds
    # beyond 64 steps every delay that grows is at its cap, and a float could not hold it
    longest = min(base * retry.factor ** min(earlier, 64), retry.max_delay_seconds)
    least = {"none": longest, "equal": longest / 2, "full": 0.0}[retry.jitter]
    return round(random.uniform(least, longest), 3)
