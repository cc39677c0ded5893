"""Running `helm` and `kubectl`: their errors as ours. Secrets go by standard input, never by an argument."""

import shutil
import subprocess
from collections.abc import Sequence

from stratum.errors import StratumError, TimedOut

QUICK_SECONDS = 60.0
_MOST_SHOWN = 2000


class MissingProgram(StratumError):
    """A program that is needed is not on the PATH."""

    def __init__(self, name: str) -> None:
        super().__init__(f"`{name}` is not on the PATH.", "Install it: these commands act on a cluster by way of helm and kubectl.")


class ProgramFailed(StratumError):
    """A program did not end well. `said` is what it wrote to standard error, `code` its exit code, `output` the rest."""

    def __init__(self, shown: str, code: int, said: str, output: str = "", hint: str = "") -> None:
        self.code = code
        self.said = said
        self.output = output
        super().__init__(f"`{shown}` failed: {said[-_MOST_SHOWN:] or f'exit code {code}'}", hint)


def run(command: Sequence[str], shown: str, *, given: str | None = None, seconds: float = QUICK_SECONDS) -> str:
    """What the program prints.

    Args:
        shown: how it is called in messages.
        given: its standard input.

    Raises:
        MissingProgram, TimedOut, ProgramFailed: it could not do it.
    """
    if shutil.which(command[0]) is None:
        raise MissingProgram(command[0])
    try:
        done = subprocess.run(list(command), input=given or "", capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired as error:
        raise TimedOut(f"`{shown}` did not end within {seconds:g} s.", "Is the cluster reached? `kubectl version` tells.") from error
    if done.returncode != 0:
        raise ProgramFailed(shown, done.returncode, done.stderr.strip(), done.stdout)
    return done.stdout
