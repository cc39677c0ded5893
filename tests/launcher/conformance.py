"""What every backend must do. A backend's own test module inherits `BackendConformance` and gives a `world` fixture.

Jobs behave as `tests/launcher/job_program.py` reads from the command's parameters.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pytest

from launcher.backend import Backend
from launcher.errors import JobAbsent, JobConflict
from launcher.job import Ended, Job, JobSpec, Pending, Running
from tests.launcher.samples import a_spec, eventually


class World(Protocol):
    """A backend under test and its surroundings."""

    backend: Backend
    slots: int

    def restart(self) -> None:
        """Replace `backend` by a fresh one over the same jobs, as if the launcher had been killed."""

    def shared_file(self, name: str) -> Path:
        """A file that the test and the jobs see."""


def state_of(world: World, name: str) -> Job | None:
    world.backend.changes(0)
    return next((job for job in world.backend.jobs() if job.name == name), None)


def until(world: World, spec: JobSpec, wanted: type[Any]) -> Any:
    def look() -> Any:
        job = state_of(world, spec.name)
        return job.state if job and isinstance(job.state, wanted) else None

    return eventually(look, f"{spec.name} to be {wanted.__name__}")


def occupy(world: World) -> tuple[list[JobSpec], Callable[[], None]]:
    """Fill every slot; the second value frees them all."""
    gate = world.shared_file("gate")
    specs = [a_spec({"seconds": 60, "until_file": str(gate)}) for _ in range(world.slots)]
    for spec in specs:
        world.backend.submit(spec)
    for spec in specs:
        until(world, spec, Running)
    return specs, gate.touch


class BackendConformance:
    def test_runs_to_completion(self, world: World) -> None:
        spec = a_spec()
        assert not world.backend.submit(spec).adopted
        ended = until(world, spec, Ended)
        assert (ended.outcome, ended.exit_code) == ("completed", 0)

    def test_lists_what_was_asked(self, world: World) -> None:
        spec = a_spec()
        world.backend.submit(spec)
        job = eventually(lambda: state_of(world, spec.name), "the job")
        assert (job.name, job.attempt, job.storage_root) == (spec.name, spec.attempt, spec.command.storage_root)

    def test_failure_tells_code_and_last_error(self, world: World) -> None:
        spec = a_spec({"lines": ["working", "ValueError: column `amout` not found", "bye"], "exit_code": 1})
        world.backend.submit(spec)
        ended = until(world, spec, Ended)
        assert (ended.outcome, ended.exit_code) == ("failed", 1)
        assert "ValueError: column `amout` not found" in ended.message

    def test_second_submission_is_adopted(self, world: World) -> None:
        started = world.shared_file("started")
        spec = a_spec({"started_file": str(started)})
        world.backend.submit(spec)
        assert world.backend.submit(spec).adopted
        until(world, spec, Ended)
        assert world.backend.submit(spec).adopted
        assert isinstance(until(world, spec, Ended), Ended)
        assert len(started.read_text().split()) == 1

    def test_other_command_of_the_name_is_a_conflict(self, world: World) -> None:
        spec = a_spec()
        world.backend.submit(spec)
        other = a_spec({"exit_code": 1}, process_id=str(spec.command.process_id))
        assert other.name == spec.name
        with pytest.raises(JobConflict):
            world.backend.submit(other)
        assert until(world, spec, Ended).outcome == "completed"

    def test_volatile_fields_make_no_other_work(self, world: World) -> None:
        spec = a_spec()
        world.backend.submit(spec)
        again = a_spec(process_id=str(spec.command.process_id), start_before=spec.command.start_before.isoformat(), flow_token="renewed")
        assert world.backend.submit(again).adopted

    def test_waits_for_room_with_a_cause_and_in_order(self, world: World) -> None:
        _, free = occupy(world)
        started = world.shared_file("started")
        first, second = (a_spec({"started_file": str(started), "lines": [n]}) for n in ("first", "second"))
        world.backend.submit(first)
        world.backend.submit(second)
        assert until(world, first, Pending).cause
        assert until(world, first, Pending) != until(world, second, Pending)
        free()
        assert until(world, first, Ended).outcome == "completed"
        assert until(world, second, Ended).outcome == "completed"

    def test_kill_running(self, world: World) -> None:
        spec = a_spec({"seconds": 60, "helper": True})
        world.backend.submit(spec)
        until(world, spec, Running)
        assert world.backend.kill(spec.attempt, "cancelled by the caller") is None
        ended = until(world, spec, Ended)
        assert ended.outcome == "killed"
        assert "cancelled by the caller" in ended.message

    def test_kill_what_does_not_listen(self, world: World) -> None:
        started = world.shared_file("started")
        spec = a_spec({"seconds": 60, "ignore_sigterm": True, "started_file": str(started)})
        world.backend.submit(spec)
        eventually(lambda: state_of(world, spec.name) and started.exists(), "the program")
        world.backend.kill(spec.attempt, "cancelled")
        assert until(world, spec, Ended).outcome == "killed"

    def test_kill_pending_never_starts(self, world: World) -> None:
        _, free = occupy(world)
        started = world.shared_file("started")
        spec = a_spec({"started_file": str(started)})
        world.backend.submit(spec)
        until(world, spec, Pending)
        world.backend.kill(spec.attempt, "cancelled")
        assert until(world, spec, Ended).outcome == "killed"
        free()
        after = a_spec()
        world.backend.submit(after)
        until(world, after, Ended)
        assert not started.exists()

    def test_kill_ended_changes_nothing(self, world: World) -> None:
        spec = a_spec()
        world.backend.submit(spec)
        before = until(world, spec, Ended)
        assert world.backend.kill(spec.attempt, "too late") == before
        assert until(world, spec, Ended) == before

    def test_absent(self, world: World) -> None:
        attempt = a_spec().attempt
        with pytest.raises(JobAbsent):
            world.backend.kill(attempt, "cancelled")
        world.backend.remove(attempt)

    def test_time_limit(self, world: World) -> None:
        spec = a_spec({"seconds": 60}, time_limit_seconds=1)
        world.backend.submit(spec)
        ended = until(world, spec, Ended)
        assert ended.outcome == "time_limit"
        assert "1 s" in ended.message

    def test_removed_is_gone(self, world: World) -> None:
        spec = a_spec()
        world.backend.submit(spec)
        until(world, spec, Ended)
        world.backend.remove(spec.attempt)
        assert state_of(world, spec.name) is None

    def test_changes_tells_each_state_once(self, world: World) -> None:
        spec = a_spec()
        world.backend.submit(spec)
        seen: list[Any] = []

        def look() -> bool:
            seen.extend(job.state for job in world.backend.changes(0.1) if job.name == spec.name)
            return bool(seen) and isinstance(seen[-1], Ended)

        eventually(look, "the end")
        assert len(seen) == len(set(seen))
        assert not world.backend.changes(0)

    def test_jobs_outlive_the_launcher(self, world: World) -> None:
        gate, started = world.shared_file("gate"), world.shared_file("started")
        spec = a_spec({"seconds": 60, "until_file": str(gate), "started_file": str(started)})
        world.backend.submit(spec)
        eventually(lambda: state_of(world, spec.name) and started.exists(), "the program")
        world.restart()
        assert isinstance(until(world, spec, Running), Running)
        assert world.backend.submit(spec).adopted
        gate.touch()
        assert until(world, spec, Ended).outcome == "completed"
        assert len(started.read_text().split()) == 1

    def test_end_is_seen_after_a_restart(self, world: World) -> None:
        spec = a_spec({"exit_code": 3})
        world.backend.submit(spec)
        until(world, spec, Ended)
        world.restart()
        assert [job.state.exit_code for job in world.backend.changes(0) if isinstance(job.state, Ended)] == [3]

    def test_wish_to_end_outlives_the_launcher(self, world: World) -> None:
        spec = a_spec({"seconds": 60})
        world.backend.submit(spec)
        until(world, spec, Running)
        world.backend.kill(spec.attempt, "cancelled")
        world.restart()
        assert until(world, spec, Ended).outcome == "killed"
