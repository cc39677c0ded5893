"""The two state tables."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.states import (
    ATTEMPT_MEANING,
    ATTEMPT_RANK,
    PROCESS_MEANING,
    PROCESS_TRANSITIONS,
    AttemptState,
    ProcessState,
    attempt_may_become,
    process_may_become,
)

PROCESS_ARROWS = """
    accepted   -> queued cancelled failed
    queued     -> submitted running accepted cancelling failed
    submitted  -> running accepted cancelling failed
    running    -> sealing accepted cancelling failed
    sealing    -> succeeded failed
    cancelling -> cancelled
    succeeded  ->
    failed     ->
    cancelled  ->
"""

process_states = st.sampled_from(ProcessState)
attempt_states = st.sampled_from(AttemptState)


def _arrows(text: str) -> set[tuple[str, str]]:
    lines = (line.split("->") for line in text.strip().splitlines())
    return {(current.strip(), following) for current, all_following in lines for following in all_following.split()}


def test_the_process_has_exactly_these_arrows() -> None:
    arrows = {(a.value, b.value) for a in ProcessState for b in ProcessState if process_may_become(a, b)}
    assert arrows == _arrows(PROCESS_ARROWS)


def test_tables_are_complete() -> None:
    assert set(PROCESS_TRANSITIONS) == set(PROCESS_MEANING) == set(ProcessState)
    assert set(ATTEMPT_RANK) == set(ATTEMPT_MEANING) == set(AttemptState)


def test_finals() -> None:
    assert {state.value for state in ProcessState if state.is_final} == {"succeeded", "failed", "cancelled"}
    assert {state.value for state in AttemptState if state.is_final} == {"succeeded", "failed", "lost", "cancelled"}


@given(process_states, process_states)
def test_nothing_leads_out_of_a_final_process(current: ProcessState, following: ProcessState) -> None:
    assert not (current.is_final and process_may_become(current, following))


@pytest.mark.parametrize("state", [state for state in ProcessState if not state.is_final])
def test_every_process_can_end(state: ProcessState) -> None:
    reached, frontier = {state}, [state]
    while frontier:
        found = PROCESS_TRANSITIONS[frontier.pop()] - reached
        reached |= found
        frontier += found
    assert any(reachable.is_final for reachable in reached)


def test_what_is_sealing_can_no_longer_be_cancelled() -> None:
    assert not process_may_become(ProcessState.SEALING, ProcessState.CANCELLING)
    assert not attempt_may_become(AttemptState.SEALING, AttemptState.CANCELLED)
    assert not attempt_may_become(AttemptState.SEALING, AttemptState.LOST)


@given(attempt_states, attempt_states)
def test_an_attempt_only_rises(current: AttemptState, following: AttemptState) -> None:
    if attempt_may_become(current, following):
        assert ATTEMPT_RANK[current] < ATTEMPT_RANK[following]
    assert not (current.is_final and attempt_may_become(current, following))


@given(attempt_states, attempt_states)
def test_an_attempt_may_skip_on_its_way(current: AttemptState, following: AttemptState) -> None:
    if not following.is_final:
        assert attempt_may_become(current, following) == (ATTEMPT_RANK[current] < ATTEMPT_RANK[following])


@given(attempt_states)
def test_success_is_sealed_first(current: AttemptState) -> None:
    assert attempt_may_become(current, AttemptState.SUCCEEDED) == (current is AttemptState.SEALING)


@given(attempt_states)
def test_any_attempt_under_way_can_fail(current: AttemptState) -> None:
    assert attempt_may_become(current, AttemptState.FAILED) == (not current.is_final)


@given(st.lists(attempt_states))
def test_reports_in_any_order_end_in_one_end_at_most(reports: list[AttemptState]) -> None:
    state, ends = AttemptState.CREATED, 0
    for report in reports:
        if attempt_may_become(state, report):
            state, ends = report, ends + report.is_final
    assert ends <= 1
