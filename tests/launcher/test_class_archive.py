"""The archive of classes, made by a real JVM of a real, if small, program."""

import os
import subprocess
import threading
import time
from pathlib import Path

import pytest

from launcher.job import Ended, JobSpec
from launcher.process.backend import ProcessBackend
from launcher.process.children import Launch
from launcher.process.class_archive import KEPT, UNUSED_DAYS, ClassArchive
from launcher.process.folder import JobFolder
from tests.launcher.samples import a_spec, eventually


@pytest.fixture
def java() -> list[str]:
    shown = subprocess.run(["java", "-XshowSettings:properties", "-version"], capture_output=True, text=True, check=True).stderr
    home = next(line.split("=")[1].strip() for line in shown.splitlines() if "java.home" in line)
    return [f"{home}/bin/java", "-XX:+UseG1GC"]


def test_first_job_lists_classes_then_an_archive_is_made_and_used(tmp_path: Path, java: list[str]) -> None:
    archive = ClassArchive(tmp_path / "archives", java)

    def launch(spec: JobSpec, folder: JobFolder) -> Launch:
        return Launch([java[0], *archive.options(spec.name), *java[1:], "-version"], {})

    def run(backend: ProcessBackend) -> str:
        spec = a_spec()
        backend.submit(spec)
        eventually(lambda: backend.changes(0.1) and isinstance(backend.jobs()[-1].state, Ended), "the end")
        return backend.read_log(spec.attempt, 0, 100_000).decode()

    folder = tmp_path / "archives"
    folder.mkdir()
    ancient, recent = time.time() - (UNUSED_DAYS + 1) * 86_400, time.time() - 86_400
    for name, used in {
        "old.jsa": ancient,
        "old.lock": ancient,
        "used.jsa": recent,
        "used.lock": ancient,
        "old.job.classes": ancient,
        **{f"other{number}.jsa": recent - 60 * number for number in range(1, KEPT)},
    }.items():
        (folder / name).touch()
        os.utime(folder / name, (used, used))

    with ProcessBackend.open(tmp_path / "jobs", 1, launch) as backend:
        without = run(backend)
        assert "-XX:DumpLoadedClassList=" in archive.options("x")[0]
        archive.build_when_idle(backend, threading.Event(), quiet_seconds=0.1)
    option = archive.options("x")[0]
    assert option.startswith("-XX:SharedArchiveFile=")
    assert {path.name for path in folder.iterdir() if path.name.startswith(("old", "used"))} == {"used.jsa", "used.lock"}
    assert {path.stem for path in folder.glob("other*")} == {f"other{number}" for number in range(1, KEPT - 1)}, "the least used went"
    assert {path.suffix for path in folder.iterdir()} == {".jsa", ".lock", ".log"}
    with ProcessBackend.open(tmp_path / "other-jobs", 1, launch) as backend:
        assert run(backend).splitlines()[:2] == without.splitlines()[:2]
    checked = subprocess.run([java[0], "-Xshare:on", option, *java[1:], "-version"], capture_output=True, text=True, check=True)
    assert "sharing" in checked.stderr


def test_another_class_path_is_another_archive(tmp_path: Path, java: list[str]) -> None:
    jars = tmp_path / "jars"
    jars.mkdir()
    (jars / "a.jar").write_bytes(b"a")
    command = [*java, "-cp", f"{jars}/*"]
    before = ClassArchive(tmp_path, command).options("x")
    assert ClassArchive(tmp_path, command).options("x") == before
    (jars / "a.jar").write_bytes(b"another")
    assert ClassArchive(tmp_path, command).options("x") != before
