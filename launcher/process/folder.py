"""One job's folder: the truth about the job, readable by whoever comes next.

`command.json` what the driver reads · `spec.json` what was asked · `driver.log` its output · `scratch/` its temporary files ·
`start.json` who won the right to start it (created once) · `kill.json` the wish that it end · `exit.json` how it ended.
"""

import json
import os
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from launcher.process.identity import ProcessIdentity

Cause = Literal["exited", "killed", "time_limit", "vanished", "unstartable"]
MARKER = "STRATUM_JOB_FOLDER"
"""Environment variable that every process of a job carries."""
_HIDDEN = "."


@dataclass(frozen=True, slots=True)
class Exit:
    """How a job ended. `cause`: by itself, by wish, over its time, without a witness, or before it began."""

    cause: Cause
    exit_code: int | None
    ended_at: str
    detail: str = ""
    oom_kills: int = 0


class JobFolder:
    """Files of one job. Each is written whole or not at all; `start.json` is the lock that lets only one start it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, root: Path, name: str, spec: Mapping[str, Any], command: bytes) -> "JobFolder | None":
        """Make the folder, whole and durable; None when there is one of that name."""
        folder = root / name
        temporary = root / f"{_HIDDEN}{name}.{uuid.uuid4().hex}"
        temporary.mkdir(mode=0o700)
        try:
            (temporary / "scratch").mkdir()
            _write(temporary / "command.json", command)
            _write(temporary / "spec.json", json.dumps(spec).encode())
            _sync_folder(temporary)
            try:
                temporary.rename(folder)
            except OSError:
                if folder.is_dir():
                    return None
                raise
            _sync_folder(root)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return cls(folder)

    @classmethod
    def all(cls, root: Path) -> "list[JobFolder]":
        """Every job of `root`."""
        return [cls(path) for path in _folders(root) if not path.name.startswith(_HIDDEN)]

    @classmethod
    def clear_leftovers(cls, root: Path) -> None:
        """Delete what a killed launcher left half made or half removed."""
        for path in _folders(root):
            if path.name.startswith(_HIDDEN):
                shutil.rmtree(path, ignore_errors=True)

    @property
    def name(self) -> str:
        """The job's name."""
        return self.path.name

    @property
    def command_file(self) -> Path:
        """What the driver reads; it holds the token."""
        return self.path / "command.json"

    @property
    def log_file(self) -> Path:
        """What the driver prints."""
        return self.path / "driver.log"

    @property
    def wrapper_log_file(self) -> Path:
        """What the wrapper prints: nothing, unless it is broken."""
        return self.path / "wrapper.log"

    @property
    def scratch(self) -> Path:
        """Temporary files of the run; they go when the folder goes."""
        return self.path / "scratch"

    @property
    def marker(self) -> tuple[str, str]:
        """The environment variable by which the job's processes are known."""
        return MARKER, str(self.path)

    def spec(self) -> Any:
        """What was asked."""
        return json.loads((self.path / "spec.json").read_bytes())

    def claim_start(self, identity: ProcessIdentity | None) -> bool:
        """Whether `identity` may start the job: only the first to ask may. None claims it so that nobody starts it."""
        return _create(self.path / "start.json", {"pid": None, "started": None} if identity is None else asdict(identity))

    def start(self) -> "Start | None":
        """Who won the start; None while nobody has."""
        found = _read(self.path / "start.json")
        if found is None:
            return None
        return Start(None if found["pid"] is None else ProcessIdentity(found["pid"], found["started"]))

    def wish_end(self, reason: str) -> None:
        """Record that the job shall end; the first wish stays."""
        _create(self.path / "kill.json", {"reason": reason})

    def end_wish(self) -> "EndWish | None":
        """The wish that the job end, and since when."""
        path = self.path / "kill.json"
        found = _read(path)
        return None if found is None else EndWish(found["reason"], path.stat().st_mtime)

    def record_exit(self, end: Exit) -> None:
        """Write down how it ended; the first record stays."""
        _create(self.path / "exit.json", asdict(end))

    def exit(self) -> Exit | None:
        """How it ended; None while it has not."""
        found = _read(self.path / "exit.json")
        return None if found is None else Exit(**found)

    def clear_scratch(self) -> None:
        """Free the space of temporary files."""
        shutil.rmtree(self.scratch, ignore_errors=True)

    def remove(self) -> None:
        """Remove all of it; interrupted at any point, the job is either whole or gone."""
        gone = self.path.with_name(f"{_HIDDEN}{self.name}.{uuid.uuid4().hex}")
        try:
            self.path.rename(gone)
        except FileNotFoundError:
            return
        shutil.rmtree(gone, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Start:
    """The won right to start a job; without `identity` nobody may."""

    identity: ProcessIdentity | None

    def is_alive(self) -> bool:
        """Whether its winner still runs."""
        return self.identity is not None and self.identity.is_alive()


@dataclass(frozen=True, slots=True)
class EndWish:
    """That a job shall end; `since` in seconds since 1970."""

    reason: str
    since: float


def _folders(root: Path) -> list[Path]:
    with os.scandir(root) as entries:
        return [Path(entry.path) for entry in entries if entry.is_dir()]


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None


def _create(path: Path, content: Mapping[str, Any]) -> bool:
    """Write a file that must not exist yet: a hard link appears at once with all its content, or fails."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        _write(temporary, json.dumps(content).encode())
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    return True


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
