"""An archive of the classes that a Spark driver loads (Class Data Sharing): the JVM maps it instead of reading and verifying thousands
of classes at each start.

The first job writes down which classes it loads; once no job runs, a background process makes the archive from that list. A JVM that
finds an archive not fitting, say because a jar was replaced, ignores it and starts as without.
"""

import hashlib
import os
import re
import subprocess
from collections.abc import Collection, Sequence
from pathlib import Path
from threading import Event

import structlog

from launcher.backend import Backend
from launcher.errors import BackendUnavailable
from launcher.job import Ended

log = structlog.get_logger()

_QUIET = ("-Xlog:cds=off", "-Xlog:class+path=off", "-Xlog:gc+verify=off")
_LOOK_SECONDS = 2.0
_NICENESS = 19


class ClassArchive:
    """The archive of one Java and class path. `java`: the command of `java` up to, and without, the main class."""

    def __init__(self, folder: Path, java: Sequence[str]) -> None:
        self._folder = folder
        self._java = java
        key = hashlib.sha256("\0".join(java).encode()).hexdigest()[:24]
        self._archive = folder / f"{key}.jsa"
        self._list_name = re.compile(rf"{key}\.(?P<job>.+)\.classes")
        self._list_pattern = f"{key}.{{job}}.classes"

    def options(self, job_name: str) -> list[str]:
        """Options of the JVM of a job: use the archive, or else write down the classes for it."""
        if self._archive.is_file():
            return [f"-XX:SharedArchiveFile={self._archive}", *_QUIET]
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return [f"-XX:DumpLoadedClassList={self._folder / self._list_pattern.format(job=job_name)}", *_QUIET]

    def build_when_idle(self, backend: Backend, stop: Event) -> None:
        """Make the archive once a job that wrote its classes has completed and none is under way; then, or on `stop`, return."""
        while not self._archive.is_file() and not stop.wait(_LOOK_SECONDS):
            try:
                jobs = backend.jobs()
            except BackendUnavailable:
                continue
            ended = {job.name: job.state for job in jobs if isinstance(job.state, Ended)}
            completed = {name for name, state in ended.items() if state.outcome == "completed"}
            classes = self._class_list(completed)
            if classes is not None and len(ended) == len(jobs):
                self._build(classes, stop)
                return

    def _class_list(self, completed: Collection[str]) -> Path | None:
        if not self._folder.is_dir():
            return None
        for path in self._folder.iterdir():
            match = self._list_name.fullmatch(path.name)
            if match and match["job"] in completed:
                return path
        return None

    def _build(self, classes: Path, stop: Event) -> None:
        making = self._archive.with_suffix(f".{os.getpid()}.making")
        java, *options = self._java
        command = [java, "-Xshare:dump", f"-XX:SharedClassListFile={classes}", f"-XX:SharedArchiveFile={making}", *_QUIET, *options]
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, preexec_fn=_yield_to_others
        ) as builder:
            while builder.poll() is None:
                if stop.wait(0.2):
                    builder.kill()
            problem = builder.stderr.read().decode(errors="replace") if builder.stderr else ""
        if builder.returncode == 0:
            making.rename(self._archive)
            for path in self._folder.iterdir():
                if self._list_name.fullmatch(path.name):
                    path.unlink(missing_ok=True)
            log.info("class archive made", path=str(self._archive), bytes=self._archive.stat().st_size)
        else:
            making.unlink(missing_ok=True)
            if not stop.is_set():
                log.warning("no class archive could be made; drivers start without", code=builder.returncode, error=problem[-500:])


def _yield_to_others() -> None:
    os.nice(_NICENESS)
