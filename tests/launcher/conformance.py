"""What every backend must do. A backend's own test module inherits `BackendConformance` and gives a `world` fixture.

Jobs behave as `tests/launcher/job_program.py` reads from the command's parameters.
"""

from typing import Any, Protocol

import pytest

from launcher.backend import Backend
from launcher.errors import JobAbsent, JobConflict
from launcher.job import Ended, Job, JobSpec, Pending, Running
from tests.launcher.samples import eventually


class World(Protocol):
    """A backend under test and its surroundings."""

    backend: Backend
    slots: int
    patience: float
    """Seconds that anything may take."""
    look_seconds: float
    """How long one look waits for a change: none where a look costs nothing."""
    limit_seconds: int
    """A time limit that is long enough for a driver to be started in it."""
    held: dict[str, Any]
    """Parameters of a job that runs until it is released."""

    def restart(self) -> None:
        """Replace `backend` by a fresh one over the same jobs, as if the launcher had been killed."""

    def spec(self, parameters: dict[str, Any] | None = None, **changes: Any) -> JobSpec:
        """A job that this world can run, and whose starts it counts."""

    def starts(self, spec: JobSpec) -> int:
        """How often the program of a job was started."""

    def release(self, *specs: JobSpec) -> None:
        """Let jobs that are held and run come to their end."""


def state_of(world: World, name: str) -> Job | None:
    world.backend.changes(world.look_seconds)
    return next((job for job in world.backend.jobs() if job.name == name), None)


def until(world: World, spec: JobSpec, wanted: type[Any]) -> Any:
    def look() -> Any:
        job = state_of(world, spec.name)
        return job.state if job and isinstance(job.state, wanted) else None

    return eventually(look, f"{spec.name} to be {wanted.__name__}", world.patience)


def until_started(world: World, spec: JobSpec) -> None:
    eventually(lambda: state_of(world, spec.name) and world.starts(spec), f"the program of {spec.name}", world.patience)


def occupy(world: World) -> list[JobSpec]:
    """Fill every slot with jobs that are held."""
    specs = [world.spec(world.held) for _ in range(world.slots)]
    for spec in specs:
        world.backend.submit(spec)
    for spec in specs:
        until(world, spec, Running)
    return specs


class BackendConformance:
    def test_runs_to_completion(self, world: World) -> None:
        spec = world.spec()
        assert not world.backend.submit(spec).adopted
        ended = until(world, spec, Ended)
        assert (ended.outcome, ended.exit_code) == ("completed", 0)

    def test_lists_what_was_asked(self, world: World) -> None:
        spec = world.spec()
        world.backend.submit(spec)
        job = eventually(lambda: state_of(world, spec.name), "the job", world.patience)
        assert (job.name, job.attempt, job.storage_root) == (spec.name, spec.attempt, spec.command.storage_root)

    def test_failure_tells_code_and_last_error(self, world: World) -> None:
        spec = world.spec({"lines": ["working", "ValueError: column `amout` not found", "bye"], "exit_code": 1})
        world.backend.submit(spec)
        ended = until(world, spec, Ended)
        assert (ended.outcome, ended.exit_code) == ("failed", 1)
        assert "ValueError: column `amout` not found" in ended.message

    def test_second_submission_is_adopted(self, world: World) -> None:
        spec = world.spec()
        world.backend.submit(spec)
        assert world.backend.submit(spec).adopted
        until(world, spec, Ended)
        assert world.backend.submit(spec).adopted
        assert isinstance(until(world, spec, Ended), Ended)
        assert world.starts(spec) == 1

    def test_other_command_of_the_name_is_a_conflict(self, world: World) -> None:
        spec = world.spec()
        world.backend.submit(spec)
        other = world.spec({"exit_code": 1}, process_id=str(spec.command.process_id))
        assert other.name == spec.name
        with pytest.raises(JobConflict):
            world.backend.submit(other)
        assert until(world, spec, Ended).outcome == "completed"

    def test_volatile_fields_make_no_other_work(self, world: World) -> None:
        spec = world.spec()
        world.backend.submit(spec)
        again = world.spec(
            process_id=str(spec.command.process_id), start_before=spec.command.start_before.isoformat(), flow_token="renewed"
        )
        assert world.backend.submit(again).adopted

    def test_waits_for_room_with_a_cause(self, world: World) -> None:
        running = occupy(world)
        first, second = world.spec(), world.spec()
        world.backend.submit(first)
        world.backend.submit(second)
        assert until(world, first, Pending).cause
        assert until(world, second, Pending).cause
        assert world.starts(first) == world.starts(second) == 0
        world.release(*running)
        assert until(world, first, Ended).outcome == "completed"
        assert until(world, second, Ended).outcome == "completed"

    def test_kill_running(self, world: World) -> None:
        spec = world.spec({"seconds": 60, "helper": True})
        world.backend.submit(spec)
        until(world, spec, Running)
        assert world.backend.kill(spec.attempt, "cancelled by the caller") is None
        ended = until(world, spec, Ended)
        assert ended.outcome == "killed"
        assert "cancelled by the caller" in ended.message

    def test_kill_what_does_not_listen(self, world: World) -> None:
        spec = world.spec({"seconds": 60, "ignore_sigterm": True})
        world.backend.submit(spec)
        until_started(world, spec)
        world.backend.kill(spec.attempt, "cancelled")
        assert until(world, spec, Ended).outcome == "killed"

    def test_kill_pending_never_starts(self, world: World) -> None:
        running = occupy(world)
        spec = world.spec()
        world.backend.submit(spec)
        until(world, spec, Pending)
        world.backend.kill(spec.attempt, "cancelled")
        assert until(world, spec, Ended).outcome == "killed"
        world.release(*running)
        after = world.spec()
        world.backend.submit(after)
        until(world, after, Ended)
        assert world.starts(spec) == 0

    def test_kill_ended_changes_nothing(self, world: World) -> None:
        spec = world.spec()
        world.backend.submit(spec)
        before = until(world, spec, Ended)
        assert world.backend.kill(spec.attempt, "too late") == before
        assert until(world, spec, Ended) == before

    def test_absent(self, world: World) -> None:
        attempt = world.spec().attempt
        with pytest.raises(JobAbsent):
            world.backend.kill(attempt, "cancelled")
        world.backend.remove(attempt)

    def test_time_limit(self, world: World) -> None:
        spec = world.spec({"seconds": 60}, time_limit_seconds=world.limit_seconds)
        world.backend.submit(spec)
        ended = until(world, spec, Ended)
        assert ended.outcome == "time_limit"
        assert f"{world.limit_seconds} s" in ended.message

    def test_removed_is_gone(self, world: World) -> None:
        spec = world.spec()
        world.backend.submit(spec)
        until(world, spec, Ended)
        world.backend.remove(spec.attempt)
        assert state_of(world, spec.name) is None

    def test_changes_tells_each_state_once(self, world: World) -> None:
        spec = world.spec()
        world.backend.submit(spec)
        seen: list[Any] = []

        def look() -> bool:
            seen.extend(job.state for job in world.backend.changes(0.1) if job.name == spec.name)
            return bool(seen) and isinstance(seen[-1], Ended)

        eventually(look, "the end", world.patience)
        assert len(seen) == len(set(seen))
        assert not world.backend.changes(0)

    def test_jobs_outlive_the_launcher(self, world: World) -> None:
        spec = world.spec(world.held)
        world.backend.submit(spec)
        until_started(world, spec)
        world.restart()
        assert isinstance(until(world, spec, Running), Running)
        assert world.backend.submit(spec).adopted
        world.release(spec)
        assert until(world, spec, Ended).outcome == "completed"
        assert world.starts(spec) == 1

    def test_end_is_seen_after_a_restart(self, world: World) -> None:
        spec = world.spec({"exit_code": 3})
        world.backend.submit(spec)
        until(world, spec, Ended)
        world.restart()
        assert [job.state.exit_code for job in world.backend.changes(0) if isinstance(job.state, Ended)] == [3]

    def test_wish_to_end_outlives_the_launcher(self, world: World) -> None:
        spec = world.spec({"seconds": 60})
        world.backend.submit(spec)
        until(world, spec, Running)
        world.backend.kill(spec.attempt, "cancelled")
        world.restart()
        assert until(world, spec, Ended).outcome == "killed"
