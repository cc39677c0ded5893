"""What the end of a driver means, in plain words."""

import json
import re
import signal
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from launcher.job import Ended, EndOutcome
from launcher.process.folder import Exit
from launcher.sizing import Resources

TAIL_BYTES = 64 * 1024
_LONGEST_LINE = 500
# the driver's own exit codes; all others are Spark's, Python's or the system's
_EXIT_CODES = {
    2: "the driver cannot use its command or settings",
    3: "the control plane did not let this run go on: the attempt is over, or another run has it",
    4: "the driver could not reach the control plane",
}
_JAVA_OUT_OF_MEMORY = re.compile(r"java\.lang\.OutOfMemoryError(: [^\n]*)?")
_PYTHON_OUT_OF_MEMORY = re.compile(r"^MemoryError\b", re.MULTILINE)
_STACK_FRAME = re.compile(r"^\s+|^Traceback \(most recent|^Caused by: $")
_SPARK_LOG = re.compile(r"^\d\d/\d\d/\d\d \d\d:\d\d:\d\d (?P<level>[A-Z]+) ")
_CHATTER = frozenset({"trace", "debug", "info", "warn", "warning"})
_ERROR_WORD = re.compile(r"\b\w*(Error|Exception)\b|\bERROR\b|\bFATAL\b")


def explain(end: Exit, log_tail: str, resources: Resources, time_limit_seconds: int, wish: str | None) -> Ended:
    """The meaning of `end`. `log_tail`: the last output of the driver; `wish`: why it was asked to end, if it was."""
    outcome, message = _meaning(end, log_tail, resources, time_limit_seconds, wish)
    return Ended(outcome, end.exit_code, message, datetime.fromisoformat(end.ended_at))


def _meaning(end: Exit, tail: str, resources: Resources, time_limit: int, wish: str | None) -> tuple[EndOutcome, str]:
    if end.exit_code == 0:
        return "completed", "the driver ended by itself"
    if end.cause == "killed" or wish is not None:
        return "killed", wish or "the driver was asked to end"
    if end.cause == "time_limit":
        return "time_limit", f"the run took longer than its time limit of {time_limit} s and was ended"
    if end.cause == "vanished":
        return "vanished", f"the driver disappeared without an exit code{_last(tail)}"
    if end.cause == "unstartable":
        return "failed", f"the driver could not be started: {end.detail}"
    return _meaning_of_exit(end, tail, resources)


def _meaning_of_exit(end: Exit, tail: str, resources: Resources) -> tuple[EndOutcome, str]:
    found = _JAVA_OUT_OF_MEMORY.search(tail) or _PYTHON_OUT_OF_MEMORY.search(tail)
    if found:
        return "out_of_memory", f"the driver ran out of memory ({found.group(0)}); {_memory_advice(resources)}"
    if end.exit_code == 128 + signal.SIGKILL and end.oom_kills:
        return "out_of_memory", f"the operating system killed the driver for want of memory; {_memory_advice(resources)}"
    if end.exit_code in (128 + signal.SIGKILL, 128 + signal.SIGTERM):
        name = signal.Signals(end.exit_code - 128).name
        return "killed", f"the driver was ended from outside by {name} (exit code {end.exit_code}), not by Stratum{_last(tail)}"
    meaning = _EXIT_CODES.get(end.exit_code or 0, "the driver failed")
    return "failed", f"{meaning} (exit code {end.exit_code}){_last(tail)}"


def _memory_advice(resources: Resources) -> str:
    return (
        f"ask for more in `resource_profile` (it had driver_memory {resources.driver_memory}, "
        f"executor_memory {resources.executor_memory}), or for more executor_instances or shuffle_partitions"
    )


def _last(tail: str) -> str:
    line = last_meaningful_line(tail.splitlines())
    return f": {line}" if line else ""


def last_meaningful_line(lines: Iterable[str]) -> str | None:
    """The last line that names an error, else the last that is no stack frame and no chatter; None when there is none."""
    said = [_Said.by(line) for line in lines if line.strip() and not _STACK_FRAME.match(line)]
    plain = [each for each in said if not each.is_chatter]
    chosen = next((each for each in reversed(plain) if each.is_error), plain[-1] if plain else None)
    return chosen.text[:_LONGEST_LINE] if chosen else None


@dataclass(frozen=True, slots=True)
class _Said:
    """What a line says: of a structured log, its event and the reason; of any other, all of it."""

    text: str
    is_error: bool
    is_chatter: bool

    @classmethod
    def by(cls, line: str) -> "_Said":
        record = _log_record(line)
        if record is not None:
            level = str(record.get("level", "info"))
            text = ": ".join(str(record[name]) for name in ("event", "error_class", "reason") if record.get(name))
            return cls(text, level in ("error", "critical"), level in _CHATTER)
        spark = _SPARK_LOG.match(line)
        return cls(line.strip(), bool(_ERROR_WORD.search(line)), spark is not None and spark["level"].lower() in _CHATTER)


def _log_record(line: str) -> dict[str, object] | None:
    if not line.startswith("{"):
        return None
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and "event" in record else None
