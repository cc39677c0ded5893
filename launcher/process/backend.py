"""The `process` backend: jobs as children on this machine, each under a wrapper, a folder each, first come, first served."""

import contextlib
import fcntl
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from contracts.command import AttemptRef
from launcher.backend import Submitted, Survey
from launcher.errors import BackendBusy, BackendUnavailable, JobConflict
from launcher.job import Ended, Job, JobSpec, JobState, Pending, Running, name_of
from launcher.log_file import read_part, read_tail
from launcher.process.children import Children, Launcher
from launcher.process.ending import ask_to_end, enforce_wish, settle
from launcher.process.exit_meaning import explain
from launcher.process.folder import JobFolder
from launcher.process.records import Record, Records

POLL_SECONDS = 0.1
"""How soon a child's end is seen."""


class ProcessBackend:
    """Keeps a folder per job under `root` and at most `slots` children. The folders are the state; nothing else needs to last.

    One backend at a time may use a root: `open` takes a lock that goes with the process. Children are started and looked
    after by whoever calls `changes`.
    """

    def __init__(self, root: Path, slots: int, launch: Launcher, *, grace_seconds: float = 20.0, most_pending: int = 1000) -> None:
        self._root = root
        self._slots = slots
        self._grace = grace_seconds
        self._most_pending = most_pending
        self._wake = threading.Event()
        self._records = Records(root)
        self._children = Children(root, launch, grace_seconds)
        self._ended: dict[str, Ended] = {}
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
                backend._children.disown()

    # -- the interface ---------------------------------------------------------------------------------------------------

    def submit(self, spec: JobSpec) -> Submitted:
        """See `Backend.submit`."""
        with _translated():
            if self._records.get(spec.name) is None:
                if len(self._waiting()) >= self._most_pending:
                    raise BackendBusy(f"{self._most_pending} jobs wait for a local slot already")
                document = {"digest": spec.digest, "resources": spec.resources.model_dump(), "submitted_at": time.time_ns()}
                if JobFolder.create(self._root, spec.name, document, spec.command.model_dump_json().encode()):
                    self._wake.set()
                    return Submitted(adopted=False)
            existing = self._records.get(spec.name)
            if existing is None:
                raise BackendUnavailable(f"job {spec.name} was removed while it was submitted")
            if existing.spec.digest != spec.digest:
                raise JobConflict(f"job {spec.name} was made from another command (digest {existing.spec.digest}, now {spec.digest})")
            return Submitted(adopted=True)

    def jobs(self) -> Sequence[Job]:
        """See `Backend.jobs`."""
        with _translated():
            waiting = {record.spec.name: place for place, record in enumerate(self._waiting(), start=1)}
            return [self._seen(record, waiting.get(record.spec.name)) for record in self._records.all()]

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
            record = self._records.existing(name_of(attempt))
            if record.folder.exit() is not None:
                return self._end(record)
            ask_to_end(record.folder, reason, self._grace)
            self._wake.set()
            return None

    def remove(self, attempt: AttemptRef) -> None:
        """See `Backend.remove`."""
        name = name_of(attempt)
        with _translated():
            record = self._records.get(name)
            if record is not None:
                record.folder.remove()
            self._records.forget(name)
            self._ended.pop(name, None)

    def read_log(self, attempt: AttemptRef, offset: int, size: int) -> bytes:
        """See `LogSource.read_log`."""
        with _translated():
            return read_part(self._records.existing(name_of(attempt)).folder.log_file, offset, size)

    # -- looking after the children --------------------------------------------------------------------------------------

    def _advance(self) -> None:
        self._children.reap()
        running = 0
        for record in self._records.all():
            folder = record.folder
            if record.spec.name in self._ended or folder.exit() is not None:
                continue
            enforce_wish(folder, self._grace)
            start = folder.start()
            if start is not None and not start.is_alive():
                settle(folder)
            elif start is not None or record.spec.name in self._children:
                running += 1
        for record in self._waiting()[: max(self._slots - running, 0)]:
            self._children.start(record)

    # -- what the folders say --------------------------------------------------------------------------------------------

    def _seen(self, record: Record, place: int | None) -> Job:
        state: JobState = self._end(record) or Running()
        if isinstance(state, Running) and place is not None:
            state = Pending(f"waiting for one of {self._slots} local slots, place {place}", queued=True)
        return Job(record.spec.attempt, record.spec.command.storage_root, state)

    def _end(self, record: Record) -> Ended | None:
        folder, spec = record.folder, record.spec
        ended = self._ended.get(spec.name)
        if ended is not None:
            return ended
        end = folder.exit()
        if end is None:
            return None
        wish = folder.end_wish()
        ended = explain(end, read_tail(folder.log_file), spec.resources, spec.command.time_limit_seconds, wish.reason if wish else None)
        self._ended[spec.name] = ended
        return ended

    def _waiting(self) -> list[Record]:
        """Jobs that nobody started, the first submitted first."""
        unstarted = (
            r for r in self._records.all() if r.spec.name not in self._children and r.folder.start() is None and r.folder.exit() is None
        )
        return sorted(unstarted, key=lambda record: (record.submitted_at, record.spec.name))


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BackendUnavailable(f"the folder of local jobs cannot be used: {error}") from error
