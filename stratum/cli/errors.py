"""Expected errors on the terminal: what happened, what to do, and the exit code."""

import json
import sys
from typing import Any

from stratum.errors import Conflict, Invalid, NotFound, StratumError, TimedOut, Unavailable

FAILED = 1
DIFFERENT = 7
_CODES: dict[type[StratumError], int] = {Invalid: 2, NotFound: 3, Conflict: 4, Unavailable: 5, TimedOut: 6}
EXIT_CODES_HELP = """\
Exit codes: 0 success, 1 failed or cancelled, 2 usage, 3 not found, 4 conflict,
  5 unavailable, 6 time-out, 7 fingerprint differs."""


def exit_code(error: StratumError) -> int:
    """The code of the error's kind."""
    return next((code for kind, code in _CODES.items() if isinstance(error, kind)), FAILED)


def report(error: StratumError, *, as_json: bool) -> int:
    """Print `error` to stderr: as one line of JSON, or for people. Returns the exit code."""
    if as_json:
        print(json.dumps(problem_document(error), ensure_ascii=False), file=sys.stderr)
    else:
        _print_for_people(error)
    return exit_code(error)


def problem_document(error: StratumError) -> dict[str, Any]:
    """The platform's own problem document, or one of the same shape."""
    own = {"type": f"urn:stratum:problem:client:{type(error).__name__}", "title": type(error).__name__, "detail": error.message}
    return {**own, **(error.problem or {}), "hint": error.hint}


def _print_for_people(error: StratumError) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, soft_wrap=True, highlight=False)
    console.print(Text(f"Error: {error.message}", style="bold red"))
    if error.hint:
        console.print(Text(error.hint))
