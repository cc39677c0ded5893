"""The `process` backend: what every backend must do, and what is its own."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from contracts.identifiers import new_id
from launcher.errors import BackendBusy, BackendUnavailable, JobAbsent, LauncherError
from launcher.job import Ended, JobSpec, Pending, Running
from launcher.process.backend import ProcessBackend
from launcher.process.children import Launch
from launcher.process.ending import stop_jobs
from launcher.process.folder import JobFolder
from tests.chaos.small_disk import small_disk
from tests.launcher.conformance import BackendConformance, occupy, state_of, until
from tests.launcher.samples import a_spec, eventually

PROGRAM = Path(__file__).with_name("job_program.py")


def launch_program(spec: JobSpec, folder: JobFolder) -> Launch:
    if spec.command.parameters.get("unlaunchable"):
        raise LauncherError("no Java was found")
    program = spec.command.parameters.get("program", sys.executable)
    return Launch([program, str(PROGRAM), str(folder.command_file)], {"PATH": os.environ["PATH"]})


class ProcessWorld:
    slots = 2
    patience = 15.0
    look_seconds = 0.0
    limit_seconds = 1

    def __init__(self, root: Path, stack: ExitStack) -> None:
        self.root = root / "jobs"
        self._files = root
        self._stack = stack
        self._opened = ExitStack()
        self.backend = self._open()

    def _open(self) -> ProcessBackend:
        return self._opened.enter_context(ProcessBackend.open(self.root, self.slots, launch_program, grace_seconds=1.0, most_pending=20))

    def restart(self) -> None:
        self._opened.close()
        self.backend = self._open()

    def close(self) -> None:
        self._opened.close()
        stop_jobs(self.root, "the test is over", grace_seconds=0.2)

    @property
    def held(self) -> dict[str, Any]:
        return {"seconds": 60, "until_file": str(self.shared_file("gate"))}

    def spec(self, parameters: dict[str, Any] | None = None, **changes: Any) -> JobSpec:
        process_id = changes.setdefault("process_id", str(new_id()))
        started = self.shared_file(f"started-{process_id}")
        return a_spec({"started_file": str(started), **(parameters or {})}, **changes)

    def starts(self, spec: JobSpec) -> int:
        started = Path(spec.command.parameters["started_file"])
        return len(started.read_text().split()) if started.exists() else 0

    def release(self, *specs: JobSpec) -> None:
        self.shared_file("gate").touch()

    def shared_file(self, name: str) -> Path:
        return self._files / name

    def folder(self, spec: JobSpec) -> JobFolder:
        return JobFolder(self.root / spec.name)

    def wrapper_pid(self, spec: JobSpec) -> int:
        def look() -> int | None:
            self.backend.changes(0)
            start = self.folder(spec).start()
            return start.identity.pid if start and start.identity else None

        return eventually(look, "the wrapper")

    def processes(self, spec: JobSpec) -> list[psutil.Process]:
        """Every living process of the job, however it is grouped."""
        name, value = self.folder(spec).marker
        found = []
        for process in psutil.process_iter():
            try:
                if process.status() != psutil.STATUS_ZOMBIE and process.environ().get(name) == value:
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found


@pytest.fixture
def world(tmp_path: Path) -> Iterator[ProcessWorld]:
    with ExitStack() as stack:
        world = ProcessWorld(tmp_path, stack)
        stack.callback(world.close)
        yield world


def a_long_job(world: ProcessWorld, **parameters: object) -> tuple[JobSpec, int]:
    """A job that runs, and the pid of its program."""
    started = world.shared_file("started")
    spec = a_spec({"seconds": 60, "started_file": str(started), **parameters})
    world.backend.submit(spec)
    eventually(lambda: state_of(world, spec.name) and started.exists(), "the program")
    return spec, int(started.read_text())


class TestProcessBackendConforms(BackendConformance):
    pass


def test_output_can_be_read_in_parts(world: ProcessWorld) -> None:
    spec = a_spec()
    world.backend.submit(spec)
    until(world, spec, Ended)
    assert world.backend.read_log(spec.attempt, 0, 1000) == b"hello\n"
    assert world.backend.read_log(spec.attempt, 2, 2) == b"ll"
    assert world.backend.read_log(spec.attempt, 6, 1000) == b""
    with pytest.raises(JobAbsent):
        world.backend.read_log(a_spec().attempt, 0, 1)


def test_the_token_outlives_a_restart(world: ProcessWorld) -> None:
    """The driver of a job that waited is given what was asked, token included."""
    spec = a_spec()
    world.backend.submit(spec)
    world.restart()
    assert json.loads(world.folder(spec).command_file.read_bytes()) == spec.command.model_dump(mode="json")


def test_wrapper_killed_is_vanished_and_nothing_is_left(world: ProcessWorld) -> None:
    spec, _ = a_long_job(world, helper=True, ignore_sigterm=True)
    assert len(world.processes(spec)) == 3
    os.kill(world.wrapper_pid(spec), signal.SIGKILL)
    ended = until(world, spec, Ended)
    assert (ended.outcome, ended.exit_code) == ("vanished", None)
    assert world.processes(spec) == []


def test_wrapper_killed_while_the_launcher_is_down(world: ProcessWorld) -> None:
    spec, _ = a_long_job(world)
    os.kill(world.wrapper_pid(spec), signal.SIGKILL)
    world.restart()
    assert until(world, spec, Ended).outcome == "vanished"
    assert world.processes(spec) == []


def test_driver_killed_from_outside(world: ProcessWorld) -> None:
    spec, program = a_long_job(world)
    os.kill(program, signal.SIGKILL)
    ended = until(world, spec, Ended)
    assert (ended.outcome, ended.exit_code) == ("killed", 137)
    assert "SIGKILL" in ended.message
    assert "not by Stratum" in ended.message


def test_killed_leaves_no_helper(world: ProcessWorld) -> None:
    spec, _ = a_long_job(world, helper=True)
    world.backend.kill(spec.attempt, "cancelled")
    until(world, spec, Ended)
    assert eventually(lambda: not world.processes(spec), "all its processes to be gone")
    assert not world.folder(spec).scratch.exists()


def test_launcher_killed_between_making_and_starting(world: ProcessWorld) -> None:
    spec = a_spec()
    world.backend.submit(spec)  # nobody asked for changes, so nothing was started
    world.restart()
    assert until(world, spec, Ended).outcome == "completed"


def test_launcher_killed_while_making(world: ProcessWorld) -> None:
    half_made = world.root / ".stratum-half-made.1"
    half_made.mkdir()
    world.restart()
    assert not half_made.exists()
    assert world.backend.jobs() == []


def test_launcher_killed_between_starting_and_the_claim(world: ProcessWorld) -> None:
    """Two wrappers race for one job: its program is started once."""
    started = world.shared_file("started")
    spec = a_spec({"seconds": 1, "started_file": str(started)})
    world.backend.submit(spec)
    folder = world.folder(spec)
    command = [sys.executable, "-m", "launcher.process.wrapper", "--folder", str(folder.path), "--time-limit", "60", "--grace", "1", "--"]
    environment = {**os.environ, folder.marker[0]: folder.marker[1]}
    program = [sys.executable, str(PROGRAM), str(folder.command_file)]
    orphan = subprocess.Popen([*command, *program], start_new_session=True, env=environment)
    assert until(world, spec, Ended).outcome == "completed"
    assert orphan.wait(10) == 0
    assert len(started.read_text().split()) == 1


def test_reused_pid_is_not_taken_for_the_job(world: ProcessWorld) -> None:
    foreign = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    try:
        spec = a_spec()
        world.backend.submit(spec)
        (world.folder(spec).path / "start.json").write_text(json.dumps({"pid": foreign.pid, "started": "another boot/1"}))
        assert until(world, spec, Ended).outcome == "vanished"
        assert foreign.poll() is None
    finally:
        foreign.kill()
        foreign.wait()


def test_never_more_than_the_slots(world: ProcessWorld) -> None:
    running = occupy(world)
    waiting = [a_spec() for _ in range(3)]
    for spec in waiting:
        world.backend.submit(spec)
    world.backend.changes(0)
    states = [job.state for job in world.backend.jobs()]
    assert sum(isinstance(state, Running) for state in states) == 2
    causes = [until(world, spec, Pending).cause for spec in waiting]
    assert causes == [f"waiting for one of 2 local slots, place {place}" for place in (1, 2, 3)]
    world.release(*running)
    for spec in waiting:
        assert until(world, spec, Ended).outcome == "completed"


def test_pushes_back_when_too_many_wait(world: ProcessWorld) -> None:
    for _ in range(20):
        world.backend.submit(a_spec())
    with pytest.raises(BackendBusy):
        world.backend.submit(a_spec())


def test_secrets_are_private_and_on_no_command_line(world: ProcessWorld) -> None:
    spec, _ = a_long_job(world)
    folder = world.folder(spec)
    assert folder.command_file.stat().st_mode & 0o777 == 0o600
    assert folder.path.stat().st_mode & 0o777 == 0o700
    for process in world.processes(spec):
        assert "secret-token" not in " ".join(process.cmdline())
    assert json.loads(folder.command_file.read_bytes())["resource_profile"]["driver_memory"] == "1g"


@pytest.mark.parametrize(
    ("parameters", "outcome", "exit_code", "says"),
    [
        (
            {"lines": ["java.lang.OutOfMemoryError: Java heap space"], "exit_code": 52},
            "out_of_memory",
            52,
            "ask for more in `resource_profile`",
        ),
        ({"lines": ["MemoryError"], "exit_code": 1}, "out_of_memory", 1, "MemoryError"),
        ({"exit_code": 3}, "failed", 3, "another run has it"),
        ({"signal": signal.SIGTERM}, "killed", 143, "SIGTERM"),
        ({"program": "/nowhere/java"}, "failed", None, "/nowhere/java: No such file or directory"),
        ({"unlaunchable": True}, "failed", None, "no Java was found"),
    ],
)
def test_meaning_of_ends(world: ProcessWorld, parameters: dict[str, object], outcome: str, exit_code: int | None, says: str) -> None:
    spec = a_spec(parameters)
    world.backend.submit(spec)
    ended = until(world, spec, Ended)
    assert (ended.outcome, ended.exit_code) == (outcome, exit_code)
    assert says in ended.message


def test_stop_jobs_ends_what_runs_and_keeps_what_waits(world: ProcessWorld) -> None:
    specs = occupy(world)
    waiting = a_spec()
    world.backend.submit(waiting)
    assert stop_jobs(world.root, "the platform was stopped", grace_seconds=1.0) == 2
    assert all(world.processes(spec) == [] for spec in specs)
    world.restart()
    for spec in specs:
        ended = until(world, spec, Ended)
        assert ended.outcome == "killed"
        assert "the platform was stopped" in ended.message
    assert until(world, waiting, Ended).outcome == "completed"


def test_one_launcher_a_folder(world: ProcessWorld) -> None:
    with pytest.raises(BackendUnavailable, match="another launcher"), ProcessBackend.open(world.root, 1, launch_program):
        pass


def test_damaged_folder_is_named(world: ProcessWorld) -> None:
    spec = a_spec()
    world.backend.submit(spec)
    (world.folder(spec).path / "spec.json").write_text("{")
    world.restart()
    with pytest.raises(BackendUnavailable, match=spec.name):
        world.backend.jobs()
    world.folder(spec).remove()


def test_a_job_that_fills_the_disk_can_be_ended(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", mebibytes=4) as disk, ExitStack() as stack:
        world = ProcessWorld(disk.folder, stack)
        stack.callback(world.close)
        spec = world.spec(world.held)
        world.backend.submit(spec)
        until(world, spec, Running)
        scratch = world.folder(spec).scratch
        eventually(lambda: world.starts(spec), "the job")
        with (scratch / "ballast").open("wb") as ballast, suppress(OSError):
            ballast.write(b"x" * 64 * 2**20)
        assert world.backend.kill(spec.attempt, "cancelled by the caller") is None
        assert until(world, spec, Ended).outcome == "killed"


def test_how_a_job_ended_is_told_though_it_filled_the_disk(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", mebibytes=4) as disk, ExitStack() as stack:
        world = ProcessWorld(disk.folder, stack)
        stack.callback(world.close)
        spec = world.spec({"fill": "in-scratch"})
        world.backend.submit(spec)
        ended = until(world, spec, Ended)
        assert (ended.outcome, ended.exit_code) == ("failed", 1)
        assert not (disk.folder / "jobs" / spec.name / "scratch").exists()
