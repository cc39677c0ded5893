"""Anything, in any order: Hypothesis chooses what happens next, and the oracle looks after each step.

`STRATUM_MODEL_EXAMPLES` and `STRATUM_MODEL_STEPS` make it longer. What failed is printed as a program: put it into `kept.py`, where it is
played for ever. Until then it lies in `.hypothesis` (or `HYPOTHESIS_STORAGE_DIRECTORY`), and is played first the next time.
"""

import os
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.control_plane.model.conftest import Stage
from tests.control_plane.model.kept import KEPT, Program
from tests.control_plane.model.world import CLOCKS, ERRORS, OUTCOMES, REFUSALS, World

EXAMPLES = int(os.environ.get("STRATUM_MODEL_EXAMPLES", "12"))
STEPS = int(os.environ.get("STRATUM_MODEL_STEPS", "40"))
PICK = st.integers(0, 5)
WORK = st.integers(0, 2)


class Processes(RuleBasedStateMachine):
    """Rules are the world's methods; what is not there to be chosen makes a rule do nothing."""

    stage: ClassVar[Stage]

    def __init__(self) -> None:
        super().__init__()
        self.world: World = self.stage.new_world()

    def do(self, name: str, *arguments: Any) -> None:
        self.stage.run(getattr(self.world, name)(*arguments))

    @initialize(works=st.lists(WORK, min_size=1, max_size=2))
    def begin(self, works: list[int]) -> None:
        for name, work in enumerate(works):
            self.do("submit", name, work)
        self.do("release", 1000)
        self.do("publish", True)

    @rule(name=st.integers(0, 1), work=WORK)
    def submit(self, name: int, work: int) -> None:
        self.do("submit", name, work)

    @rule(pick=PICK)
    def cancel(self, pick: int) -> None:
        self.do("cancel", pick)

    @rule(pick=PICK)
    def retry(self, pick: int) -> None:
        self.do("retry", pick)

    @rule(most=st.integers(1, 3), mark=st.booleans())
    def relay(self, most: int, mark: bool) -> None:
        self.do("release", most)
        self.do("publish", mark)

    @rule(most=st.integers(1, 3))
    def release(self, most: int) -> None:
        self.do("release", most)

    @rule(pick=PICK)
    def launch(self, pick: int) -> None:
        self.do("launch", pick)

    @rule(pick=PICK)
    def launch_and_tell(self, pick: int) -> None:
        self.do("launch", pick)
        self.do("hear", -1, False)

    @rule(pick=PICK, error_class=st.sampled_from(REFUSALS))
    def refuse(self, pick: int, error_class: str) -> None:
        self.do("refuse", pick, error_class)

    @rule(pick=PICK, queued=st.booleans())
    def wait(self, pick: int, queued: bool) -> None:
        self.do("wait", pick, queued)

    @rule(pick=PICK, outcome=st.sampled_from(OUTCOMES))
    def end_job(self, pick: int, outcome: str) -> None:
        self.do("end_job", pick, outcome)

    @rule(pick=PICK)
    def answer_cancel(self, pick: int) -> None:
        self.do("answer_cancel", pick)

    @rule(unseen=st.booleans())
    def relist(self, unseen: bool) -> None:
        self.do("relist", unseen)

    @rule(pick=PICK, again=st.booleans())
    def hear(self, pick: int, again: bool) -> None:
        self.do("hear", pick, again)

    @rule(pick=PICK)
    def start(self, pick: int) -> None:
        self.do("start", pick)

    @rule(pick=PICK, waiting=st.booleans())
    def heartbeat(self, pick: int, waiting: bool) -> None:
        self.do("heartbeat", pick, waiting)

    @rule(pick=PICK)
    def propose(self, pick: int) -> None:
        self.do("propose", pick)

    @rule(pick=PICK, truly=st.booleans())
    def finish(self, pick: int, truly: bool) -> None:
        self.do("finish", pick, truly)

    @rule(pick=PICK, error_class=st.sampled_from(ERRORS), retryable=st.booleans())
    def fail(self, pick: int, error_class: str, retryable: bool) -> None:
        self.do("fail", pick, error_class, retryable)

    @rule(what=st.sampled_from(CLOCKS))
    def pass_time(self, what: str) -> None:
        self.do("pass_time", what)

    @rule()
    def deadlines(self) -> None:
        self.do("deadlines")

    @rule()
    def seal(self) -> None:
        self.do("seal")

    @rule()
    def die_sealing(self) -> None:
        self.do("die_sealing")

    @invariant()
    def holds(self) -> None:
        self.stage.run(self.world.oracle.check())

    def teardown(self) -> None:
        self.stage.run(self.world.settle())


@pytest.mark.timeout(900)
def test_processes_come_to_a_right_end_whatever_happens(stage: Stage) -> None:
    Processes.stage = stage
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Processes,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )


class Watched:
    """Takes the steps of a kept program, and lets the oracle look after each."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes

    def __getattr__(self, name: str) -> Callable[..., None]:
        def step(**arguments: Any) -> None:
            getattr(self._processes, name)(**arguments)
            self._processes.holds()

        return step


@pytest.mark.parametrize("program", KEPT, ids=lambda program: program.__name__)
def test_what_was_found_once_is_played_for_ever(program: Program, stage: Stage) -> None:
    Processes.stage = stage
    processes = Processes()
    program(Watched(processes))
    processes.teardown()
