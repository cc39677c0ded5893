"""Runs checks, several at once, each within its time. Whatever a check does, the others go on."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from queue import Empty, SimpleQueue
from typing import Any

from stratum.preflight.finding import Finding, Status, failed, skipped

WORKERS = 8
"""Checks at once: what is looked at serves others meanwhile, and a check that waits its turn loses nothing of its time."""


@dataclass(frozen=True, slots=True)
class Check:
    """One question.

    Attributes:
        name: no other check of the group has it.
        look: asks it; blocks.
        needs: names of checks of the same group, given before this one; without their `pass` or `warn` it is skipped.
        seconds: its own time limit, where it needs more than the others.
        lane: checks of one lane run one after another.
    """

    group: str
    name: str
    look: Callable[[], Finding]
    needs: tuple[str, ...] = ()
    seconds: float | None = None
    lane: str | None = None


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


Tell = Callable[[Check, Result | None], None]
"""Told when a check begins (None) and when it has ended."""
_Key = tuple[str, str]


def run(checks: Sequence[Check], seconds: float, secrets: Iterable[str] = (), tell: Tell = lambda *_: None) -> list[Result]:
    """All answers, in the order of `checks`.

    Args:
        seconds: time limit of each check that has none of its own; waiting for others, or for its turn, does not count.
        secrets: texts that no answer may hold, whatever a library puts into its messages.

    Raises:
        ValueError: two checks of a group have one name, of which one's answer would be lost; or one needs what is not there.
    """
    known: set[_Key] = set()
    for check in checks:
        if (check.group, check.name) in known:
            raise ValueError(f"two checks have the name {check.group}: {check.name}")
        if unknown := [name for name in check.needs if (check.group, name) not in known]:
            raise ValueError(f"{check.group}: {check.name} needs {', '.join(unknown)}, which is not there before it")
        known.add((check.group, check.name))
    return _Run(checks, seconds, sorted({secret for secret in secrets if secret}, key=len, reverse=True), tell).results()


class _Run:
    """The checks that wait, those that go on, and the answers. One thread has it; each check has a thread that only asks."""

    def __init__(self, checks: Sequence[Check], seconds: float, hidden: Sequence[str], tell: Tell) -> None:
        self._checks = checks
        self._seconds = seconds
        self._hidden = hidden
        self._tell = tell
        self._waiting = list(checks)
        self._going: dict[_Key, tuple[Check, float]] = {}
        self._results: dict[_Key, Result] = {}
        self._answers: SimpleQueue[tuple[_Key, Finding]] = SimpleQueue()

    def results(self) -> list[Result]:
        while self._waiting or self._going:
            self._waiting = [check for check in self._waiting if not self._begins(check)]
            if self._going:
                self._hear()
        return [self._results[check.group, check.name] for check in self._checks]

    def _begins(self, check: Check) -> bool:
        """Begin a check if it can be; one without what it needs ends at once."""
        needed = [self._results.get((check.group, name)) for name in check.needs]
        if not all(needed):
            return False
        missing = [result.name for result in needed if result is not None and result.status not in ("pass", "warn")]
        lanes = {going.lane for going, _ in self._going.values() if going.lane is not None}
        if not missing and (len(self._going) >= WORKERS or check.lane in lanes):
            return False
        self._tell(check, None)
        key = check.group, check.name
        self._going[key] = check, time.monotonic()
        if missing:
            self._end(key, skipped(f"needs: {', '.join(missing)}"))
        else:
            # a daemon: a call that hangs does not keep the program alive
            threading.Thread(target=lambda: self._answers.put((key, _answer(check))), daemon=True).start()
        return True

    def _hear(self) -> None:
        """Wait for an answer, or until a check is out of time: its answer, if it ever comes, is not heard."""
        until = {key: begun + self._limit(check) for key, (check, begun) in self._going.items()}
        try:
            key, finding = self._answers.get(timeout=max(0.0, min(until.values()) - time.monotonic()))
        except Empty:
            key = min(until, key=lambda each: until[each])
            limit = self._limit(self._going[key][0])
            finding = failed(
                f"no answer within {limit:g} s", "Look whether the address is right and reachable from here; --timeout gives it more."
            )
        if key in self._going:
            self._end(key, finding)

    def _limit(self, check: Check) -> float:
        return check.seconds or self._seconds

    def _end(self, key: _Key, finding: Finding) -> None:
        check, begun = self._going.pop(key)
        detail, remedy = _without(finding.detail, self._hidden), _without(finding.remedy, self._hidden)
        result = Result(*key, finding.status, detail, remedy, time.monotonic() - begun)
        self._results[key] = result
        self._tell(check, result)


def _answer(check: Check) -> Finding:
    try:
        return check.look()
    except BaseException as error:
        # a defect of a check, or an answer that nobody thought of, is told like a failure and hides no other check
        return failed(f"{type(error).__name__}: {error}", "This answer was not expected: see whether the service is what its address says.")


def _without(text: str, hidden: Sequence[str]) -> str:
    for secret in hidden:
        text = text.replace(secret, "***")
    return text
