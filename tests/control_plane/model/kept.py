"""Examples that once failed, or came near to it, kept for ever: each is played at every run of the tests, whatever Hypothesis chooses.

What Hypothesis prints of a failure is a program: `state = Processes()`, its steps, `state.teardown()`. Put the steps between into a
function here, whose name says what was found, and add it to `KEPT`.
"""

from collections.abc import Callable
from typing import Any

Program = Callable[[Any], None]


def a_late_report_of_an_attempt_that_was_called_lost(state: Any) -> None:
    state.begin(works=[0])
    state.launch_and_tell(pick=0)
    state.start(pick=0)
    state.propose(pick=0)
    state.end_job(pick=0, outcome="vanished")
    state.hear(pick=0, again=True)
    state.finish(pick=0, truly=True)
    state.hear(pick=0, again=False)
    state.seal()


def a_sealer_that_died_between_two_manifests(state: Any) -> None:
    state.begin(works=[2])
    state.launch_and_tell(pick=0)
    state.start(pick=0)
    state.finish(pick=0, truly=True)
    state.die_sealing()
    state.cancel(pick=0)
    state.propose(pick=0)
    state.pass_time(what="seal lease")
    state.seal()


def a_command_that_is_launched_after_its_cancel(state: Any) -> None:
    state.begin(works=[0, 2])
    state.cancel(pick=0)
    state.relay(most=1, mark=False)
    state.launch(pick=0)
    state.answer_cancel(pick=0)
    state.hear(pick=0, again=True)
    state.start(pick=0)
    state.retry(pick=0)
    state.relay(most=3, mark=True)


KEPT: tuple[Program, ...] = (
    a_late_report_of_an_attempt_that_was_called_lost,
    a_sealer_that_died_between_two_manifests,
    a_command_that_is_launched_after_its_cancel,
)
