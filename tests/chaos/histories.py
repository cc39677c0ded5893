"""What the whole history of a process may be: the place of each remark in it, and patterns over the types of all its events."""

import re
from collections.abc import Iterable, Sequence

from contracts.states import ProcessState

_P = ProcessState
STATE_OF = {**{state.value: state for state in ProcessState}, "retrying": ProcessState.ACCEPTED}
"""Types of events that change the state; all others are remarks."""
PLACES: dict[str, frozenset[ProcessState]] = {
    "pending": frozenset({_P.SUBMITTED}),
    "waiting": frozenset({_P.QUEUED, _P.RUNNING, _P.SEALING}),
    "silent": frozenset({_P.RUNNING}),
    "unwatched": frozenset({_P.SUBMITTED, _P.RUNNING}),
    "webhook_delivered": frozenset({_P.SUCCEEDED, _P.FAILED, _P.CANCELLED}),
    "webhook_given_up": frozenset({_P.SUCCEEDED, _P.FAILED, _P.CANCELLED}),
}
"""The states in which a remark may be made."""

CERTAIN = "accepted queued running sealing succeeded"
"""Of a run whose launcher says nothing before its end."""
CERTAINLY_RETRIED = "accepted queued running retrying queued running sealing succeeded"
_QUEUED = r"queued( waiting){0,2}( submitted( pending)?)?"
"""News of the job may come too late to be told; where a command lies is told once it lies there for long."""
WHOLE = f"accepted {_QUEUED} running sealing succeeded"
WHOLE_WITHOUT_STORE = f"accepted {_QUEUED} running sealing( waiting)? succeeded"
RETRIED = f"accepted {_QUEUED} running retrying {_QUEUED} running sealing succeeded"


def misplaced(types: Iterable[str]) -> list[str]:
    """Remarks that nobody knows, or that stand where they may not, in plain words."""
    state, problems = None, []
    for kind in types:
        if kind in STATE_OF:
            state = STATE_OF[kind]
        elif state not in PLACES.get(kind, ()):
            problems.append(f"its history has {kind!r} while it is {state}")
    return problems


def is_one_of(types: Sequence[str], patterns: Iterable[str]) -> bool:
    """Whether the whole history fits one of the patterns."""
    return any(re.fullmatch(pattern, " ".join(types)) for pattern in patterns)
