"""An archive of the classes that a Spark driver loads (Class Data Sharing): the JVM maps it instead of reading and verifying thousands
of classes at each start.

The first jobs write down which classes they load; once no job has run for a while, a background process makes the archive from such a
list. What a JVM finds not fitting it ignores, and starts as without.
"""

import fcntl
import hashlib
import os
import re
import subprocess
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event

import structlog

from launcher.backend import Backend
from launcher.errors import BackendUnavailable
from launcher.job import Ended

log = structlog.get_logger()

QUIET_SECONDS = 15.0
"""How long no job must have been under way: whoever runs one job may be about to run another."""
UNUSED_DAYS = 14
KEPT = 4
"""How many archives, the one in use among them, and for how long without a start from them, stay when another one is made: each is
200 MB, and each version and each checkout leaves one. A driver that runs keeps what it has mapped."""
_NO_REMARKS = ("-Xlog:cds=off", "-Xlog:class+path=off", "-Xlog:gc+verify=off")
_LOOK_SECONDS = 2.0
_NICENESS = "5"


class ClassArchive:
    """The archive of one Java and class path. `java`: the command of `java` up to, and without, the main class."""

    def __init__(self, folder: Path, java: Sequence[str]) -> None:
        self._folder = folder
        self._java = java
        self._key = _fingerprint(java)
        self._archive = folder / f"{self._key}.jsa"

    def options(self, job_name: str) -> list[str]:
        """Options of the JVM of a job: use the archive, or else write down the classes for it."""
        if self._archive.is_file():
            os.utime(self._archive)
            return [f"-XX:SharedArchiveFile={self._archive}", *_NO_REMARKS]
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return [f"-XX:DumpLoadedClassList={self._folder}/{self._key}.{job_name}.classes", *_NO_REMARKS]

    def build_when_idle(self, backend: Backend, stop: Event, quiet_seconds: float = QUIET_SECONDS) -> None:
        """Make the archive once a job that wrote its classes has completed and all is quiet; then, or on `stop`, return."""
        quiet_since = time.monotonic()
        while not self._archive.is_file() and not stop.wait(min(quiet_seconds, _LOOK_SECONDS)):
            try:
                jobs = backend.jobs()
            except BackendUnavailable:
                continue
            states = {job.name: job.state for job in jobs if isinstance(job.state, Ended)}
            classes = self._class_list({name for name, state in states.items() if state.outcome == "completed"})
            if classes is None or len(states) < len(jobs):
                quiet_since = time.monotonic()
            elif time.monotonic() - quiet_since >= quiet_seconds:
                with self._alone():
                    self._build(classes, stop)
                return

    def _class_list(self, completed: Collection[str]) -> Path | None:
        lists = (self._folder / f"{self._key}.{name}.classes" for name in completed)
        return next((path for path in lists if path.is_file()), None)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Several launchers of one user share the folder."""
        with (self._folder / f"{self._key}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _build(self, classes: Path, stop: Event) -> None:
        if self._archive.is_file():
            return
        making = self._archive.with_suffix(".making")
        making.unlink(missing_ok=True)
        command = ["nice", "-n", _NICENESS, self._java[0], "-Xshare:dump", f"-XX:SharedClassListFile={classes}"]
        command += [f"-XX:SharedArchiveFile={making}", *_NO_REMARKS, *self._java[1:]]
        with (self._folder / f"{self._key}.log").open("wb") as output:
            builder = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
            while builder.poll() is None:
                if stop.wait(0.2):
                    builder.kill()
        if builder.returncode == 0:
            making.rename(self._archive)
            for path in self._folder.glob(f"{self._key}.*.classes"):
                path.unlink(missing_ok=True)
            log.info("class archive made", path=str(self._archive), bytes=self._archive.stat().st_size)
            self._remove_unused()
        elif not stop.is_set():
            log.warning("no class archive was made; drivers start without", code=builder.returncode, see=output.name)

    def _remove_unused(self) -> None:
        """Archives of other versions that nobody starts from any more, and what was written for them."""
        oldest = time.time() - UNUSED_DAYS * 86_400
        newest: dict[str, float] = {}
        for path in self._folder.iterdir():
            key = path.name.partition(".")[0]
            with suppress(FileNotFoundError):  # another launcher was faster
                newest[key] = max(newest.get(key, 0), path.stat().st_mtime)
        others = sorted(newest.keys() - {self._key}, key=newest.__getitem__, reverse=True)
        for key in (key for place, key in enumerate(others, start=1) if place >= KEPT or newest[key] < oldest):
            log.info("unused class archive removed", key=key)
            for path in self._folder.glob(f"{key}.*"):
                path.unlink(missing_ok=True)


def _fingerprint(java: Sequence[str]) -> str:
    """Of the command, the Java version and every jar: a replaced jar makes another archive."""
    parts = list(java)
    release = Path(java[0]).parents[1] / "release"
    if release.is_file():
        parts.append(release.read_text(encoding="utf-8"))
    for entry in java[java.index("-cp") + 1].split(os.pathsep) if "-cp" in java else ():
        folder = re.fullmatch(r"(.+)/\*", entry)
        for jar in sorted(Path(folder[1]).glob("*.jar")) if folder else [Path(entry)]:
            found = jar.stat() if jar.exists() else None
            parts.append(f"{jar} {found.st_size} {found.st_mtime_ns}" if found else str(jar))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]
