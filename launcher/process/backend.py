"""The `process` backend: jobs as children on this machine, each under a wrapper, a folder each, first come, first served."""

import contextlib
import fcntl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import structlog
from pydantic import ValidationError

from contracts.command import AttemptRef, Command
from contracts.sizing import Resources
from launcher.backend import Submitted, Survey
from launcher.errors import BackendBusy, BackendUnavailable, JobAbsent, JobConflict, LauncherError
from launcher.exit_meaning import TAIL_BYTES
from launcher.job import Ended, Job, JobSpec, JobState, Pending, Running, name_of
from launcher.process.ending import enforce_wish, now, settle
from launcher.process.exit_meaning import explain
from launcher.process.folder import Exit, JobFolder

log = structlog.get_logger()

POLL_SECONDS = 0.1
"""How soon a child's end is seen."""


@dataclass(frozen=True, slots=True)
class Launch:
    """A command line without secrets, and the whole environment of the job."""

    arguments: Sequence[str]
    environment: Mapping[str, str]


class Launcher(Protocol):
    """How a job is started: `spark-submit` in earnest."""

    def __call__(self, spec: JobSpec, folder: JobFolder) -> Launch:
        """The command line of the job.

        Raises:
            LauncherError: it cannot be made; the job ends as failed with this message.
        """


class ProcessBackend:
    """Keeps a folder per job under `root` and at most `slots` children. The folders are the state; nothing else needs to last.

    One backend at a time may use a root: `open` takes a lock that goes with the process. Children are started and looked
    after by whoever calls `changes`.
    """

    def __init__(self, root: Path, slots: int, launch: Launcher, *, grace_seconds: float = 20.0, most_pending: int = 1000) -> None:
        self._root = root
        self._slots = slots
        self._launch = launch
        self._grace = grace_seconds
        self._most_pending = most_pending
        self._wake = threading.Event()
        self._records: dict[str, _Record] = {}
        self._ended: dict[str, Ended] = {}
        self._wrappers: dict[str, subprocess.Popen[bytes]] = {}
        self._told: dict[str, JobState] = {}

    @classmethod
    @contextlib.contextmanager
    def open(
        cls, root: Path, slots: int, launch: Launcher, *, grace_seconds: float = 20.0, most_pending: int = 1000
    ) -> "Iterator[ProcessBackend]":
        """The backend of `root`, which is made if missing.

        Raises:
            BackendUnavailable: another launcher has it.
        """
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (root / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise BackendUnavailable(
                    f"another launcher runs the jobs of {root}: stop it, or set STRATUM_JOBS_DIR to another folder"
                ) from error
            JobFolder.clear_leftovers(root)
            backend = cls(root.resolve(), slots, launch, grace_seconds=grace_seconds, most_pending=most_pending)
            try:
                yield backend
            finally:
                backend._disown()

    # -- the interface ---------------------------------------------------------------------------------------------------

    def submit(self, spec: JobSpec) -> Submitted:
        """See `Backend.submit`."""
        with _translated():
            if self._record(spec.name) is None:
                if len(self._waiting()) >= self._most_pending:
                    raise BackendBusy(f"{self._most_pending} jobs wait for a local slot already")
                document = {"digest": spec.digest, "resources": spec.resources.model_dump(), "submitted_at": time.time_ns()}
                if JobFolder.create(self._root, spec.name, document, spec.command.model_dump_json().encode()):
                    self._wake.set()
                    return Submitted(adopted=False)
            existing = self._record(spec.name)
            if existing is None:
                raise BackendUnavailable(f"job {spec.name} was removed while it was submitted")
            if existing.spec.digest != spec.digest:
                raise JobConflict(f"job {spec.name} was made from another command (digest {existing.spec.digest}, now {spec.digest})")
            return Submitted(adopted=True)

    def jobs(self) -> Sequence[Job]:
        """See `Backend.jobs`."""
        with _translated():
            waiting = {record.spec.name: place for place, record in enumerate(self._waiting(), start=1)}
            return [self._seen(record, waiting.get(record.spec.name)) for record in self._all()]

    def survey(self) -> Survey:
        """See `Backend.survey`. On one machine all is seen, or nothing."""
        return Survey(self.jobs())

    def changes(self, timeout_seconds: float) -> Sequence[Job]:
        """See `Backend.changes`. Also starts what has a slot, and settles what lost its wrapper."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            self._wake.clear()
            with _translated():
                self._advance()
            jobs = self.jobs()
            changed = [job for job in jobs if self._told.get(job.name) != job.state]
            self._told = {job.name: job.state for job in jobs}
            left = deadline - time.monotonic()
            if changed or left <= 0:
                return changed
            self._wake.wait(min(left, POLL_SECONDS))

    def kill(self, attempt: AttemptRef, reason: str) -> Ended | None:
        """See `Backend.kill`."""
        with _translated():
            record = self._existing(name_of(attempt))
            if record.folder.exit() is not None:
                return self._end(record)
            record.folder.wish_end(reason)
            enforce_wish(record.folder, self._grace)
            self._wake.set()
            return None

    def remove(self, attempt: AttemptRef) -> None:
        """See `Backend.remove`."""
        name = name_of(attempt)
        with _translated():
            record = self._record(name)
            if record is not None:
                record.folder.remove()
            self._records.pop(name, None)
            self._ended.pop(name, None)

    def read_log(self, attempt: AttemptRef, offset: int, size: int) -> bytes:
        """See `LogSource.read_log`."""
        with _translated():
            return _read_part(self._existing(name_of(attempt)).folder.log_file, offset, size)

    # -- looking after the children --------------------------------------------------------------------------------------

    def _advance(self) -> None:
        self._reap()
        running = 0
        for record in self._all():
            folder = record.folder
            if record.spec.name in self._ended or folder.exit() is not None:
                continue
            enforce_wish(folder, self._grace)
            start = folder.start()
            if start is not None and not start.is_alive():
                settle(folder)
            elif start is not None or record.spec.name in self._wrappers:
                running += 1
        for record in self._waiting()[: max(self._slots - running, 0)]:
            self._start(record)

    def _reap(self) -> None:
        for name, wrapper in list(self._wrappers.items()):
            code = wrapper.poll()
            if code is None:
                continue
            del self._wrappers[name]
            folder = JobFolder(self._root / name)
            if folder.path.is_dir() and folder.claim_start(None):
                # it ended before it could claim the start: trying again would go on for ever
                detail = f"the wrapper ended with code {code}: {_read_tail(folder.wrapper_log_file)}"
                folder.record_exit(Exit("vanished" if code < 0 else "unstartable", None, now(), detail))

    def _disown(self) -> None:
        for wrapper in self._wrappers.values():
            if wrapper.poll() is None:
                wrapper.returncode = 0  # it lives on; Popen would warn that nobody waited for it

    def _start(self, record: "_Record") -> None:
        folder, spec = record.folder, record.spec
        try:
            launch = self._launch(spec, folder)
        except LauncherError as error:
            if folder.claim_start(None):
                folder.record_exit(Exit("unstartable", None, now(), detail=str(error)))
            return
        limits = ["--time-limit", str(spec.command.time_limit_seconds), "--grace", str(self._grace)]
        with folder.wrapper_log_file.open("ab") as output:
            wrapper = subprocess.Popen(
                [sys.executable, "-m", "launcher.process.wrapper", "--folder", str(folder.path), *limits, "--", *launch.arguments],
                env=dict([*launch.environment.items(), folder.marker]),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._wrappers[spec.name] = wrapper
        log.info("job started", pid=wrapper.pid, **spec.log_fields)

    # -- what the folders say --------------------------------------------------------------------------------------------

    def _seen(self, record: "_Record", place: int | None) -> Job:
        state: JobState = self._end(record) or Running()
        if isinstance(state, Running) and place is not None:
            state = Pending(f"waiting for one of {self._slots} local slots, place {place}", queued=True)
        return Job(record.spec.attempt, record.spec.command.storage_root, state)

    def _end(self, record: "_Record") -> Ended | None:
        folder, spec = record.folder, record.spec
        ended = self._ended.get(spec.name)
        if ended is not None:
            return ended
        end = folder.exit()
        if end is None:
            return None
        wish = folder.end_wish()
        ended = explain(end, _read_tail(folder.log_file), spec.resources, spec.command.time_limit_seconds, wish.reason if wish else None)
        self._ended[spec.name] = ended
        return ended

    def _waiting(self) -> "list[_Record]":
        """Jobs that nobody started, the first submitted first."""
        unstarted = (r for r in self._all() if r.spec.name not in self._wrappers and r.folder.start() is None and r.folder.exit() is None)
        return sorted(unstarted, key=lambda record: (record.submitted_at, record.spec.name))

    def _all(self) -> "list[_Record]":
        found = (self._record(folder.name) for folder in JobFolder.all(self._root))
        return [record for record in found if record is not None]

    def _existing(self, name: str) -> "_Record":
        record = self._record(name)
        if record is None:
            raise JobAbsent(f"there is no job {name}")
        return record

    def _record(self, name: str) -> "_Record | None":
        """The job of that name; what was asked never changes, so it is read once."""
        folder = JobFolder(self._root / name)
        if not folder.path.is_dir():
            return None
        record = self._records.get(name)
        if record is None:
            try:
                record = _Record.read(folder)
            except FileNotFoundError:
                if folder.path.is_dir():
                    raise
                return None  # it was removed between the two looks
            self._records[name] = record
        return record


@dataclass(frozen=True, slots=True)
class _Record:
    folder: JobFolder
    spec: JobSpec
    submitted_at: int

    @classmethod
    def read(cls, folder: JobFolder) -> "_Record":
        try:
            document: dict[str, Any] = folder.spec()
            command = Command.model_validate_json(folder.command_file.read_bytes())
            spec = JobSpec(command, Resources.model_validate(document["resources"]), document["digest"])
            return cls(folder, spec, document["submitted_at"])
        except (ValidationError, ValueError, KeyError) as error:
            raise BackendUnavailable(f"the job folder {folder.path} is damaged: look at it, then remove it ({error})") from error


def _read_part(path: Path, offset: int, size: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(size)
    except FileNotFoundError:
        return b""


def _read_tail(path: Path) -> str:
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return ""
    return _read_part(path, max(size - TAIL_BYTES, 0), TAIL_BYTES).decode(errors="replace")


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BackendUnavailable(f"the folder of local jobs cannot be used: {error}") from error
