"""What the end of a driver means."""

import pytest

from launcher.exit_meaning import last_meaningful_line
from launcher.process.exit_meaning import explain
from launcher.process.folder import Cause, Exit
from tests.launcher.samples import RESOURCES

AT = "2026-01-01T00:00:00+00:00"


def meaning(cause: Cause, code: int | None, tail: str = "", wish: str | None = None, oom_kills: int = 0) -> tuple[str, str]:
    ended = explain(Exit(cause, code, AT, "java: not found", oom_kills), tail, RESOURCES, 60, wish)
    return ended.outcome, ended.message


@pytest.mark.parametrize(
    ("cause", "code", "tail", "oom_kills", "outcome", "says"),
    [
        ("exited", 0, "java.lang.OutOfMemoryError in a task that was tried again", 0, "completed", "by itself"),
        ("exited", 1, "ERROR boom", 0, "failed", "(exit code 1): ERROR boom"),
        ("exited", 1, "", 0, "failed", "the driver failed (exit code 1)"),
        ("exited", 1, "x\njava.lang.OutOfMemoryError: GC overhead limit exceeded\ny", 0, "out_of_memory", "GC overhead limit exceeded"),
        ("exited", 1, "Traceback (most recent call last):\nMemoryError", 0, "out_of_memory", "driver_memory 1g"),
        ("exited", 2, "", 0, "failed", "cannot use its command"),
        ("exited", 3, "", 0, "failed", "another run has it"),
        ("exited", 4, "", 0, "failed", "could not reach the control plane"),
        ("exited", 137, "", 0, "killed", "SIGKILL (exit code 137), not by Stratum"),
        ("exited", 137, "", 1, "out_of_memory", "operating system"),
        ("exited", 143, "", 0, "killed", "SIGTERM"),
        ("time_limit", 143, "", 0, "time_limit", "60 s"),
        ("vanished", None, "last words", 0, "vanished", "without an exit code: last words"),
        ("unstartable", None, "", 0, "failed", "java: not found"),
    ],
)
def test_meaning(cause: Cause, code: int | None, tail: str, oom_kills: int, outcome: str, says: str) -> None:
    found, message = meaning(cause, code, tail, oom_kills=oom_kills)
    assert found == outcome
    assert says in message


@pytest.mark.parametrize("cause", ["exited", "killed", "vanished"])
def test_wish_explains_whatever_came_of_it(cause: Cause) -> None:
    assert meaning(cause, 143, wish="cancelled by the caller") == ("killed", "cancelled by the caller")


def test_done_before_the_wish_was_heard() -> None:
    assert meaning("killed", 0, wish="cancelled by the caller")[0] == "completed"


@pytest.mark.parametrize(
    ("lines", "line"),
    [
        ([], None),
        (["", "   "], None),
        (["26/01/01 10:00:00 INFO SparkContext: ended", "26/01/01 10:00:00 WARN X: y"], None),
        (
            ["26/01/01 10:00:00 ERROR Executor: Exception in task", "26/01/01 10:00:01 INFO x"],
            "26/01/01 10:00:00 ERROR Executor: Exception in task",
        ),
        (["ValueError: bad", "  at org.apache.X(Y.java:1)", "Traceback (most recent call last):", "done"], "ValueError: bad"),
        (["first", "second"], "second"),
        (
            [
                '{"event": "granted", "level": "info"}',
                '{"event": "failed", "level": "error", "error_class": "EMPTY_INPUT", "reason": "no rows"}',
                "{",
            ],
            "failed: EMPTY_INPUT: no rows",
        ),
        (["x" * 1000], "x" * 500),
    ],
)
def test_last_meaningful_line(lines: list[str], line: str | None) -> None:
    assert last_meaningful_line(lines) == line
