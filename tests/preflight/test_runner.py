"""The runner: checks at once, in turn, within their time."""

import threading
import time
from collections.abc import Callable

import pytest

from stratum.preflight.finding import Finding, failed, passed, warned
from stratum.preflight.runner import WORKERS, Check, run


def test_a_check_that_blows_up_is_a_failure_and_hides_no_other() -> None:
    def blow_up() -> Finding:
        raise RuntimeError("the password is hunter2")

    results = run([Check("g", "a", blow_up), Check("g", "b", lambda: passed("fine"))], 5, secrets=["hunter2"])
    assert [result.status for result in results] == ["fail", "pass"]
    assert results[0].detail == "RuntimeError: the password is ***"


def test_a_check_that_hangs_ends_at_its_time() -> None:
    let_go = threading.Event()

    def hang() -> Finding:
        let_go.wait()
        return passed("too late")

    begin = time.monotonic()
    (hung, after) = run([Check("g", "a", hang, seconds=0.1), Check("g", "b", lambda: passed("fine"), needs=("a",))], 60)
    assert time.monotonic() - begin < 30
    let_go.set()
    assert (hung.status, after.status, after.detail) == ("fail", "skip", "needs: a")


def test_independent_checks_run_at_once() -> None:
    meeting = threading.Barrier(WORKERS, timeout=20)

    def meet() -> Finding:
        meeting.wait()
        return passed("met")

    assert {result.status for result in run([Check("g", str(number), meet) for number in range(WORKERS)], 30)} == {"pass"}


def test_what_is_needed_is_awaited() -> None:
    order: list[str] = []

    others_went_on = threading.Event()

    def other() -> Finding:
        others_went_on.set()
        return passed("p")

    def slow() -> Finding:
        assert others_went_on.wait(20)
        order.append("first")
        return warned("w", "r")

    def then() -> Finding:
        order.append("second")
        return passed("p")

    results = run([Check("g", "a", slow), Check("g", "b", then, needs=("a",)), Check("g", "c", other)], 30)
    assert order == ["first", "second"]
    assert [result.status for result in results] == ["warn", "pass", "pass"]


def test_two_checks_of_one_name_are_refused() -> None:
    """One's answer would stand for both."""
    with pytest.raises(ValueError, match="two checks have the name g: a"):
        run([Check("g", "a", lambda: passed("fine")), Check("g", "a", lambda: passed("fine"))], 5)
    assert len(run([Check("g", "a", lambda: passed("fine")), Check("h", "a", lambda: passed("fine"))], 5)) == 2


def test_what_is_needed_must_be_there() -> None:
    with pytest.raises(ValueError, match="g: a needs b"):
        run([Check("g", "a", lambda: passed("fine"), needs=("b",)), Check("g", "b", lambda: passed("fine"))], 5)


def meeting_of(count: int) -> Callable[[], Finding]:
    """A check that fails if so many of its kind are ever there at once."""
    barrier = threading.Barrier(count, timeout=0.5)

    def look() -> Finding:
        try:
            barrier.wait()
        except threading.BrokenBarrierError:
            return passed("they did not meet")
        return failed("they met", "")

    return look


def test_only_so_many_checks_run_at_once() -> None:
    meet = meeting_of(WORKERS + 1)
    assert {result.status for result in run([Check("g", str(number), meet) for number in range(WORKERS + 1)], 30)} == {"pass"}


def test_checks_of_one_lane_run_one_after_another() -> None:
    meet = meeting_of(2)
    assert {result.status for result in run([Check("g", str(number), meet, lane="a") for number in range(4)], 30)} == {"pass"}
    apart = meeting_of(2)
    assert {result.status for result in run([Check("g", lane, apart, lane=lane) for lane in "ab"], 30)} == {"fail"}


def test_waiting_for_ones_turn_does_not_count() -> None:
    """All of a lane hang: each has its whole time, and says so."""
    let_go = threading.Event()

    def hang() -> Finding:
        let_go.wait()
        return passed("too late")

    hanging = [Check("g", str(number), hang, seconds=0.1, lane="a") for number in range(4)]
    results = run([*hanging, Check("g", "last", lambda: passed("fine"), seconds=0.1, lane="a")], 60)
    let_go.set()
    assert [result.status for result in results] == ["fail"] * 4 + ["pass"]
    assert all(result.seconds >= 0.1 for result in results[:4])
