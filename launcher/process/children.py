"""The wrappers that this launcher started, and that outlive it."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import structlog

from launcher.errors import LauncherError
from launcher.job import JobSpec
from launcher.log_file import read_tail
from launcher.process.ending import now
from launcher.process.folder import Exit, JobFolder
from launcher.process.records import Record

log = structlog.get_logger()


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


class Children:
    """Wrappers by the name of their job; each is the leader of a session of its own. `grace`: see the wrapper."""

    def __init__(self, root: Path, launch: Launcher, grace: float) -> None:
        self._root = root
        self._launch = launch
        self._grace = grace
        self._wrappers: dict[str, subprocess.Popen[bytes]] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._wrappers

    def start(self, record: Record) -> None:
        """Start the job, or write down why it cannot be started."""
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

    def reap(self) -> None:
        """Let go of those that have ended; what became of their jobs is in the folders."""
        for name, wrapper in list(self._wrappers.items()):
            code = wrapper.poll()
            if code is None:
                continue
            del self._wrappers[name]
            folder = JobFolder(self._root / name)
            if folder.path.is_dir() and folder.claim_start(None):
                # it ended before it could claim the start: trying again would go on for ever
                detail = f"the wrapper ended with code {code}: {read_tail(folder.wrapper_log_file)}"
                folder.record_exit(Exit("vanished" if code < 0 else "unstartable", None, now(), detail))

    def disown(self) -> None:
        """Leave those that live to themselves."""
        for wrapper in self._wrappers.values():
            if wrapper.poll() is None:
                wrapper.returncode = 0  # it lives on; Popen would warn that nobody waited for it
