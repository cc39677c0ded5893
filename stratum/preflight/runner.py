"""Runs checks at once, each within its time. Whatever a check does, the others go on."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as OutOfTime
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, TypeVar

from stratum.preflight.finding import Finding, Status, failed, skipped


@dataclass(frozen=True, slots=True)
class Check:
    """One question.

    Attributes:
        look: asks it; blocks.
        needs: names of checks of the same group, given before this one; without their `pass` or `warn` it is skipped.
        seconds: its own time limit, where it needs more than the others.
    """

    group: str
    name: str
    look: Callable[[], Finding]
    needs: tuple[str, ...] = ()
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """The answer to one check, and how long it took."""

    group: str
    name: str
    status: Status
    detail: str
    remedy: str
    seconds: float

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**asdict(self), "seconds": round(self.seconds, 3)}


T = TypeVar("T")

Tell = Callable[[Check, Result | None], None]
"""Told when a check begins (None) and when it has ended. Called from several threads."""


def run(checks: Sequence[Check], seconds: float, secrets: Iterable[str] = (), tell: Tell = lambda *_: None) -> list[Result]:
    """All answers, in the order of `checks`.

    Args:
        seconds: time limit of each check that has none of its own; waiting for others does not count.
        secrets: texts that no answer may hold, whatever a library puts into its messages.
    """
    hidden = sorted({secret for secret in secrets if secret}, key=len, reverse=True)
    started: dict[tuple[str, str], Future[Result]] = {}
    for check in checks:
        needed = [started[check.group, name] for name in check.needs]
        started[check.group, check.name] = _in_thread(partial(_ask, check, needed, seconds, hidden, tell))
    return [future.result() for future in started.values()]


def _ask(check: Check, needed: Sequence[Future[Result]], seconds: float, hidden: Sequence[str], tell: Tell) -> Result:
    missing = [result.name for result in (future.result() for future in needed) if result.status not in ("pass", "warn")]
    tell(check, None)
    begin = time.monotonic()
    finding = skipped(f"needs: {', '.join(missing)}") if missing else _look(check, check.seconds or seconds)
    spent = time.monotonic() - begin
    result = Result(check.group, check.name, finding.status, _without(finding.detail, hidden), _without(finding.remedy, hidden), spent)
    tell(check, result)
    return result


def _look(check: Check, seconds: float) -> Finding:
    try:
        return _in_thread(check.look).result(seconds)
    except OutOfTime:
        return failed(
            f"no answer within {seconds:g} s", "Look whether the address is right and reachable from here; --timeout gives it more."
        )
    except Exception as error:
        # a defect of a check, or an answer that nobody thought of, is told like a failure and hides no other check
        return failed(f"{type(error).__name__}: {error}", "This answer was not expected: see whether the service is what its address says.")


def _in_thread(work: Callable[[], T]) -> "Future[T]":
    """Daemon threads: a call that hangs does not keep the program alive."""
    future: Future[T] = Future()

    def run_it() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run_it, daemon=True).start()
    return future


def _without(text: str, hidden: Sequence[str]) -> str:
    for secret in hidden:
        text = text.replace(secret, "***")
    return text
