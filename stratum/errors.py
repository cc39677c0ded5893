"""Errors of what a person touches (SDK, CLI): one small tree under `StratumError`. Errors of other libraries are translated to these."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

Problem = Mapping[str, Any]
"""An `application/problem+json` document (RFC 9457): `type`, `title`, `status`, `detail` and the problem's own members."""


class StratumError(Exception):
    """Something that a caller can understand and act upon: `message` says what happened, `hint` what to do."""

    def __init__(self, message: str, hint: str = "", problem: Problem | None = None) -> None:
        self.message = message
        self.hint = hint
        self.problem: Problem | None = problem
        super().__init__(f"{message}\n{hint}" if hint else message)


class NotFound(StratumError):
    """The process, entity, data version, dataset or action does not exist."""


class Conflict(StratumError):
    """The name is taken, or the state does not allow it. `retry_after` (seconds) is set where waiting helps."""

    retry_after: float | None = None

    @property
    def owner_process_id(self) -> str | None:
        """The process that owns the dataset name, when that is the conflict."""
        return (self.problem or {}).get("owner_process_id")


class Invalid(StratumError):
    """What was asked for, or sent, is not valid: an id, a parameter, a file. Asking again will not help."""


class BrokenFile(Invalid):
    """A local file cannot be ingested: a broken row, a wrong value, no rows at all."""

    def __init__(self, path: Path, problem: str, line: int | None = None, text: str | None = None, hint: str = "") -> None:
        self.path = path
        self.line = line
        self.text = text
        where = f"{path}, line {line}" if line else str(path)
        row = f"\n  {_shortened(text)}" if text is not None else ""
        super().__init__(f"{where}: {problem}{row}", hint or "Mend the file and ingest it again; nothing was uploaded.")


class Unauthenticated(StratumError):
    """No token, or one that the platform does not know."""


class Forbidden(StratumError):
    """The token is known, but its role does not allow this."""


class Unavailable(StratumError):
    """The platform, or a part of it, cannot be reached now. Asking again later may help.

    `retry_after` is the pause in seconds that the platform asks for; `maybe_done` says that the answer may have got lost, not the request.
    """

    retry_after: float | None = None
    maybe_done: bool = False


class TimedOut(StratumError):
    """The time that the caller gave is over. The work itself goes on."""


class ServerFault(StratumError):
    """The platform answered with an error of its own, or with something that is not its protocol."""


class ProcessFailed(StratumError):
    """A process ended as `failed` or `cancelled`."""

    def __init__(self, process_id: str, state: str, reason: str) -> None:
        self.process_id = process_id
        self.state = state
        super().__init__(f"process {process_id} {state}: {reason}", f"See `stratum events {process_id}` and `stratum logs {process_id}`.")


class CorruptDataset(StratumError):
    """A sealed dataset does not hold what its manifest says."""


class MissingLibrary(StratumError):
    """An optional library is needed for this and is not installed."""

    def __init__(self, library: str) -> None:
        super().__init__(f"{library} is not installed.", f"Install it beside Stratum: `pip install {library}`.")


class MissingExtra(StratumError):
    """A part of Stratum itself is needed for this and is not installed."""

    def __init__(self, extra: str) -> None:
        # no `pip install stratum[…]`: what an index has by that name is another program
        super().__init__(
            f"Stratum was installed without its extra {extra!r}.",
            f"In a clone of Stratum `make .venv/ready` installs all of it; elsewhere `pip install 'PATH-OF-THE-CLONE[{extra}]'`.",
        )


def _shortened(text: str, limit: int = 300) -> str:
    text = text.rstrip("\r\n")
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text):,} characters)"
