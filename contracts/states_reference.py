"""`docs/reference/states.md`: both state tables, and the table of what is tried again, for people."""

from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from typing import TypeVar

from contracts.catalog import Limits, Retry
from contracts.error_classes import REMEDIES, REMEDY_MEANING, Remedy
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

Made from `contracts/states.py` and `contracts/error_classes.py` by `python -m contracts generate`; do not edit.

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

_RETRY_NOTES = """\
How an attempt ended has an error class, and one table (`contracts/error_classes.py`) says what follows. A run's own word `retryable` can
only make it stricter: what it calls hopeless is not tried again, what the table calls hopeless is not tried again whatever the run says.
The delay before the next attempt is chosen once, stored with the attempt (`not_before`) and named in the process's reason and event."""

_UNKNOWN_CLASSES = """\
Every other class is Spark's or an action's own and is not tried again, unless the action's `retry.also` names it. The limits are those of
the catalog at the moment the work was accepted; a reload changes them for later requests only."""

_WAITING_NOTES = """\
`pending_limit_seconds` begins when the job exists, or when a queue that held it has let it go, and is judged only by a look at the
cluster that began after it was over: an observer that is blind ends nothing. The reason names what the job last waited for."""


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
        "## What is tried again",
        _RETRY_NOTES,
        _table(("Remedy", "Meaning", "Error classes"), ((f"`{each}`", REMEDY_MEANING[each], _classes(each)) for each in Remedy)),
        _UNKNOWN_CLASSES,
        _table(("Limit of an action", "Default", "Meaning"), _limits()),
        _WAITING_NOTES,
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


def _classes(chosen: Remedy) -> str:
    return ", ".join(f"`{name}`" for name, each in sorted(REMEDIES.items()) if each is chosen)


def _limits() -> Iterator[tuple[str, ...]]:
    for model, prefix in ((Limits, ""), (Retry, "retry.")):
        for name, field in model.model_fields.items():
            if name != "retry":
                default = "the installation's" if field.default is None else f"`{field.default}`" if field.default != () else "none"
                yield f"`{prefix}{name}`", default, field.description or "How often a step is tried."


def _names(chosen: Iterable[S], order: type[S]) -> str:
    wanted = set(chosen)
    return ", ".join(f"`{state}`" for state in order if state in wanted) or "none: final"
