"""What a driver's exit code and its last words mean, in plain words."""

import json
import re
import signal
from collections.abc import Iterable
from dataclasses import dataclass

from contracts.sizing import Resources
from launcher.job import EndOutcome

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


def meaning_of_exit(exit_code: int | None, tail: str, resources: Resources, starved: str | None = None) -> tuple[EndOutcome, str]:
    """Outcome and words for a driver that ended by itself, or was ended by somebody unknown.

    Args:
        exit_code: other than 0; 128 + signal if one ended it.
        tail: the last of its output.
        resources: what it was given.
        starved: who killed it for want of memory, if somebody did.
    """
    if starved:
        return "out_of_memory", f"{starved}; {memory_advice(resources)}"
    found = _JAVA_OUT_OF_MEMORY.search(tail) or _PYTHON_OUT_OF_MEMORY.search(tail)
    if found:
        return "out_of_memory", f"the driver ran out of memory ({found.group(0)}); {memory_advice(resources)}"
    if exit_code in (128 + signal.SIGKILL, 128 + signal.SIGTERM):
        name = signal.Signals(exit_code - 128).name
        return "killed", f"the driver was ended from outside by {name} (exit code {exit_code}), not by Stratum{last_words(tail)}"
    meaning = _EXIT_CODES.get(exit_code or 0, "the driver failed")
    return "failed", f"{meaning} (exit code {exit_code}){last_words(tail)}"


def memory_advice(resources: Resources) -> str:
    """What the caller can do about it."""
    return (
        f"ask for more in `resource_profile` (it had driver_memory {resources.driver_memory}, "
        f"executor_memory {resources.executor_memory}), or for more executor_instances or shuffle_partitions"
    )


def last_words(tail: str) -> str:
    """`: ` and the last meaningful line of the output, or nothing."""
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
