"""What the observer tells, in what order, and when it forgets a job. The backend is real; Kafka is a list that may be away."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from contracts.event import JobEnded, JobPending, LauncherEvent, Relist
from launcher.errors import ClockUnavailable, PublishFailed
from launcher.job import Ended, Running
from launcher.observe import DatabaseClock, Observer
from launcher.process.backend import ProcessBackend
from launcher.process.ending import stop_jobs
from tests.launcher.launcher_program import launch_program
from tests.launcher.samples import a_spec, eventually
from tests.launcher.stub_api import Api


class Observed:
    def __init__(self, backend: ProcessBackend, clock: DatabaseClock) -> None:
        self.backend = backend
        self.told: list[LauncherEvent] = []
        self.kafka_is_away = False
        self.logs_are_shipped = True
        self._clock = clock
        self.observer = self.another()

    def another(self, retention: float = 0) -> Observer:
        return Observer(
            self.backend,
            self._publish,
            self._clock,
            lambda _: self.logs_are_shipped,
            cluster="here",
            relist_seconds=1,
            retention=timedelta(seconds=retention),
        )

    def _publish(self, events: Sequence[LauncherEvent]) -> None:
        if self.kafka_is_away:
            raise PublishFailed("Kafka is away")
        self.told.extend(events)

    def ends(self) -> list[JobEnded]:
        return [event for event in self.told if isinstance(event, JobEnded)]

    def until_told(self, count: int) -> None:
        def look() -> bool:
            self.observer.look(0.05)
            return len(self.ends()) >= count

        eventually(look, f"{count} ends")


@pytest.fixture
def observed(tmp_path: Path, api: Api) -> Iterator[Observed]:
    jobs = tmp_path / "jobs"
    with httpx.Client() as http, ProcessBackend.open(jobs, 1, launch_program, grace_seconds=1) as backend:
        yield Observed(backend, DatabaseClock(api.base_url, http))
    stop_jobs(jobs, "the test is over", 0.2)


def test_tells_causes_and_ends_once(observed: Observed, tmp_path: Path) -> None:
    first, second = a_spec({"seconds": 60, "until_file": str(tmp_path / "gate")}), a_spec()
    for spec in (first, second):
        observed.backend.submit(spec)
    eventually(lambda: observed.observer.look(0.05) or any(isinstance(j.state, Running) for j in observed.backend.jobs()), "a run")
    (tmp_path / "gate").touch()
    observed.until_told(2)
    observed.observer.look(0)
    causes = [(event.process_id, event.cause) for event in observed.told if isinstance(event, JobPending)]
    assert (second.command.process_id, "waiting for one of 1 local slots, place 1") in causes
    assert [event.process_id for event in observed.ends()] == [first.command.process_id, second.command.process_id]


def test_what_kafka_did_not_take_is_told_later(observed: Observed) -> None:
    observed.backend.submit(a_spec())
    observed.kafka_is_away = True
    with pytest.raises(PublishFailed):
        observed.until_told(1)
    observed.kafka_is_away = False
    observed.until_told(1)


def test_end_is_told_before_the_relist_that_lacks_the_job(observed: Observed, tmp_path: Path) -> None:
    spec = a_spec({"seconds": 60, "until_file": str(tmp_path / "gate")})
    observed.backend.submit(spec)
    observed.observer.look(0)
    observed.observer.relist()
    assert isinstance(observed.told[-1], Relist)
    assert observed.told[-1].live == (spec.attempt,)
    (tmp_path / "gate").touch()
    eventually(lambda: all(not isinstance(job.state, Running) for job in observed.backend.jobs()), "the end")
    observed.observer.relist()
    ended, relist = observed.told[-2:]
    assert isinstance(ended, JobEnded)
    assert isinstance(relist, Relist)
    assert relist.live == ()


def test_an_end_that_a_relist_told_is_not_told_again(observed: Observed) -> None:
    """The listing may be ahead of the watch."""
    observed.backend.submit(a_spec())
    observed.observer.look(0)
    eventually(lambda: isinstance(observed.backend.jobs()[0].state, Ended), "the end")
    observed.observer.relist()
    observed.observer.look(0)
    assert len(observed.ends()) == 1


def test_blind_observer_publishes_no_relist(observed: Observed, api: Api) -> None:
    api.up = False
    with pytest.raises(ClockUnavailable, match="503"):
        observed.observer.relist()
    assert observed.told == []


def test_forgets_only_what_is_stored(observed: Observed) -> None:
    observed.backend.submit(a_spec())
    observed.until_told(1)
    observed.logs_are_shipped = False
    observed.observer.remove_stored()
    assert len(observed.backend.jobs()) == 1
    observed.logs_are_shipped = True
    observed.another().remove_stored()  # has told nothing yet, so it forgets nothing
    observed.another(retention=60).remove_stored()
    assert len(observed.backend.jobs()) == 1
    observed.observer.remove_stored()
    assert observed.backend.jobs() == []


def test_a_job_that_others_removed_is_forgotten(observed: Observed) -> None:
    """Else what was told would grow for ever, and the end of a job of the same name would be taken for told."""
    spec = a_spec()
    observed.backend.submit(spec)
    observed.until_told(1)
    observed.backend.remove(spec.attempt)
    observed.observer.relist()
    observed.backend.submit(spec)
    eventually(lambda: observed.backend.changes(0.05) and isinstance(observed.backend.jobs()[0].state, Ended), "the second end")
    observed.observer.relist()
    assert len(observed.ends()) == 2
