"""Whether there is a next attempt, and how long it waits."""

import random

import pytest

from contracts.catalog import Limits, Retry
from control_plane.retrying import Again, Tried, delay, following

EXACT = Retry(delay_seconds=2.0, factor=3.0, max_delay_seconds=50.0, jitter="none")
LIMITS = Limits(max_attempts=3, start_before_seconds=600, retry=EXACT)
FRESH = Tried(failures=0, waits=0, waited_seconds=0, has_run=False)


def test_delays_grow_up_to_their_cap() -> None:
    assert [delay(EXACT, earlier, 99) for earlier in range(5)] == [2, 6, 18, 50, 50]
    assert delay(EXACT, 10_000, 99) == 50
    assert delay(Retry(jitter="none"), 1, 0.5) == 1, "without a delay of its own, an action has the installation's"


@pytest.mark.parametrize(("jitter", "least"), [("equal", 9.0), ("full", 0.0)])
def test_jitter_spreads_them(jitter: str, least: float) -> None:
    random.seed(1)
    chosen = [delay(EXACT.model_copy(update={"jitter": jitter}), 2, 0) for _ in range(2000)]
    assert least <= min(chosen) < least + 0.2
    assert 17.8 < max(chosen) <= 18
    assert len(set(chosen)) > 1000


@pytest.mark.parametrize(
    ("tried", "error_class", "claimed", "expected"),
    [
        (FRESH, "JOB_LOST", True, Again(2, failures=1, waits=0)),
        (Tried(1, 4, 60, True), "JOB_LOST", True, Again(6, failures=2, waits=0)),
        (Tried(2, 0, 0, True), "JOB_LOST", True, None),
        (FRESH, "JOB_LOST", False, None),
        (FRESH, "INVALID_PARAMETER", True, None),
        (FRESH, "SOME_SPARK_CLASS", True, None),
        (FRESH, "QUOTA_EXCEEDED", True, Again(2, failures=0, waits=1)),
        (Tried(2, 3, 599, False), "QUOTA_EXCEEDED", True, Again(50, failures=2, waits=4)),
        (Tried(0, 3, 600, False), "QUOTA_EXCEEDED", True, None),
        (Tried(0, 0, 0, True), "QUOTA_EXCEEDED", True, Again(2, failures=1, waits=0)),
        (Tried(2, 0, 0, True), "QUOTA_EXCEEDED", True, None),
    ],
)
def test_the_table_the_claim_and_the_counts_decide(tried: Tried, error_class: str, claimed: bool, expected: Again | None) -> None:
    assert following(LIMITS, tried, error_class, 99, claimed=claimed) == expected


def test_the_catalog_lets_classes_of_an_actions_own_pass() -> None:
    limits = LIMITS.model_copy(update={"retry": EXACT.model_copy(update={"also": ("RATE_LIMITED",)})})
    assert following(limits, FRESH, "RATE_LIMITED", 99, claimed=True) == Again(2, failures=1, waits=0)
    assert following(limits, FRESH, "RATE_LIMITED", 99, claimed=False) is None
