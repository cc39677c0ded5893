"""What the end of a local driver means."""

import signal
from datetime import datetime

from contracts.sizing import Resources
from launcher.exit_meaning import last_words, meaning_of_exit
from launcher.job import Ended, EndOutcome
from launcher.process.folder import Exit


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
        return "vanished", f"the driver disappeared without an exit code{last_words(tail)}"
    if end.cause == "unstartable":
        return "failed", f"the driver could not be started: {end.detail}"
    starved = end.exit_code == 128 + signal.SIGKILL and end.oom_kills
    by_whom = "the operating system killed the driver for want of memory" if starved else None
    return meaning_of_exit(end.exit_code, tail, resources, by_whom)
