"""`docs/reference/states.md`: both state tables for people."""

from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from typing import TypeVar

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

S = TypeVar("S", bound=StrEnum)

_INTRODUCTION = """\
# States

Made from `contracts/states.py` by `python -m contracts generate`; do not edit.

A *process* is one request, as its caller sees it. An *attempt* is one numbered try at a step of it. Every change goes through
these tables: code asks them before it writes, the database holds them as checks, and a refused change is put on the audit
trail. Each state comes with a `reason` in plain words. Time is the database's."""

_PROCESS_NOTES = """\
Final is final: a retry is a new process that names the old one in `retry_of`. A process goes back to `accepted` when its attempt
was lost or may be tried again: the next attempt then waits for admission like any other. Cancelling what is still `accepted` is
done at once, since no job can exist; from there on `cancelling` waits until the job is seen to be gone."""

_ATTEMPT_NOTES = """\
An attempt only moves forward, from a lower rank to a higher, and may skip: messages and pods outrun bookkeeping. A write that
would not raise the rank is refused, so reports may come late, twice or in the wrong order. Two exceptions: `succeeded` follows on
`sealing` alone, and an attempt that is `sealing` can neither be lost nor cancelled. A retry makes a new attempt."""


def states_reference() -> str:
    """The whole page as Markdown."""
    sections = (
        _INTRODUCTION,
        "## Process",
        _diagram(ProcessState, process_may_become, ProcessState.ACCEPTED),
        _table(
            ("State", "Meaning", "Next"),
            ((f"`{state}`", PROCESS_MEANING[state], _names(PROCESS_TRANSITIONS[state], ProcessState)) for state in ProcessState),
        ),
        _PROCESS_NOTES,
        "## Attempt",
        _diagram(AttemptState, _direct_step, AttemptState.CREATED),
        "The diagram leaves the skips out; the table has every arrow.",
        _table(
            ("State", "Rank", "Meaning", "Next"),
            (
                (f"`{state}`", str(ATTEMPT_RANK[state]), ATTEMPT_MEANING[state], _names(_attempt_followers(state), AttemptState))
                for state in AttemptState
            ),
        ),
        _ATTEMPT_NOTES,
    )
    return "\n\n".join(sections) + "\n"


def _attempt_followers(state: AttemptState) -> set[AttemptState]:
    return {following for following in AttemptState if attempt_may_become(state, following)}


def _direct_step(current: AttemptState, following: AttemptState) -> bool:
    """Whether the arrow goes to the next rank, or to an end."""
    higher = sorted({rank for rank in ATTEMPT_RANK.values() if rank > ATTEMPT_RANK[current]})
    return attempt_may_become(current, following) and (following.is_final or ATTEMPT_RANK[following] == higher[0])


def _diagram(states: type[S], may_become: Callable[[S, S], bool], first: S) -> str:
    lines: list[str] = ["```mermaid", "stateDiagram-v2", f"    [*] --> {first}"]
    for state in states:
        followers = [following for following in states if may_become(state, following)]
        lines += [f"    {state} --> {following}" for following in followers] or [f"    {state} --> [*]"]
    return "\n".join([*lines, "```"])


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    return "\n".join(_table_lines(head, rows))


def _table_lines(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _names(chosen: Iterable[S], order: type[S]) -> str:
    wanted = set(chosen)
    return ", ".join(f"`{state}`" for state in order if state in wanted) or "none: final"
