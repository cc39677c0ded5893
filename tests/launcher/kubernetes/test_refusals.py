"""What the API server refuses in one tenant's namespace holds up nobody else, and its sender is told."""

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from contracts.command import AttemptRef, Command
from contracts.error_classes import Remedy, remedy
from contracts.event import CommandRefused, JobEnded, JobSubmitted, LauncherEvent
from contracts.images import ImageSettings
from contracts.live_catalog import LiveCatalog
from launcher.cancel import CancelHandler
from launcher.errors import BackendUnavailable
from launcher.job import JobSpec
from launcher.keys import JwksKeys
from launcher.kubernetes.backend import KubernetesBackend
from launcher.observe import DatabaseClock, Observer
from launcher.submit import SubmitHandler
from tests.launcher.kubernetes.stub_server import WEBHOOK_AWAY, Server, a_job, status
from tests.launcher.samples import RESOURCES
from tests.launcher.stub_api import Api
from tests.launcher.test_messages import CATALOG

NO_RIGHT = status(403, "Forbidden", 'User "x" cannot create resource "jobs" in API group "batch" in the namespace "one"')
WEBHOOK_BUSY = status(429, "TooManyRequests", 'admission webhook "mutate.example" denied the request: too many')
AWAY = status(503, "ServiceUnavailable", "etcd has no leader")
GONE = status(404, "NotFound", 'jobs.batch "a" not found')


class Launcher:
    """What handles messages, on a backend that asks the stub."""

    def __init__(self, backend: KubernetesBackend, api: Api, http: httpx.Client, catalog: LiveCatalog) -> None:
        self.api = api
        self._submit = SubmitHandler(backend, JwksKeys(api.jwks_url, http), catalog, "here", images=ImageSettings())
        self._cancel = CancelHandler(backend, JwksKeys(api.jwks_url, http), "here")

    def submit(self, tenant: str, command: Command | None = None) -> LauncherEvent:
        command = command or self.api.command(tenant=tenant)
        (event,) = self._submit(command.model_dump_json().encode(), time.monotonic())
        return event

    def cancel(self, ref: AttemptRef) -> list[LauncherEvent]:
        return list(self._cancel(self.api.cancel(ref).model_dump_json().encode(), time.monotonic()))


@pytest.fixture
def launcher(backend: KubernetesBackend, api: Api, tmp_path: Path) -> Iterator[Launcher]:
    (tmp_path / "all.yaml").write_text(CATALOG)
    with httpx.Client() as http:
        yield Launcher(backend, api, http, LiveCatalog([tmp_path], print))


def assert_waits(event: LauncherEvent) -> None:
    assert isinstance(event, CommandRefused)
    assert remedy(event.error_class) is Remedy.WAIT, event


@pytest.mark.parametrize("answer", [NO_RIGHT, WEBHOOK_AWAY, WEBHOOK_BUSY])
def test_the_command_is_tried_again_and_those_of_others_go_on(server: Server, launcher: Launcher, answer: tuple[int, Any]) -> None:
    server.answers["POST one/jobs"] = answer
    assert_waits(launcher.submit("acme"))
    assert isinstance(launcher.submit("beta"), JobSubmitted)
    del server.answers["POST one/jobs"]
    assert isinstance(launcher.submit("acme"), JobSubmitted)


def test_a_server_that_fails_is_waited_for(server: Server, launcher: Launcher) -> None:
    server.answers["POST one/jobs"] = AWAY
    with pytest.raises(BackendUnavailable):
        launcher.submit("acme")


def test_a_job_that_may_not_be_looked_at_is_not_adopted(server: Server, launcher: Launcher) -> None:
    server.answers["POST one/jobs"] = status(409, "AlreadyExists", "there")
    server.answers["GET one/jobs"] = NO_RIGHT
    assert_waits(launcher.submit("acme"))


@pytest.mark.parametrize(
    "then",
    [
        {},
        {"PATCH one/jobs": NO_RIGHT},
        {"PATCH one/jobs": WEBHOOK_AWAY},
        {"GET one/jobs": NO_RIGHT},
        {"GET one/jobs": GONE},
    ],
)
def test_a_job_whose_command_is_not_taken_is_told_of(server: Server, launcher: Launcher, then: dict[str, tuple[int, Any]]) -> None:
    """Also when it cannot be ended, or is gone already."""
    server.answers |= {"POST one/secrets": NO_RIGHT, **then}
    assert_waits(launcher.submit("acme"))
    assert ("PATCH one/jobs" in server.asked) is ("GET one/jobs" not in then)


@pytest.mark.parametrize("answers", [{"GET one/jobs": NO_RIGHT}, {"PATCH one/jobs": NO_RIGHT}, {"PATCH one/jobs": WEBHOOK_AWAY}])
def test_a_cancel_that_is_refused_holds_up_no_other(server: Server, launcher: Launcher, answers: dict[str, tuple[int, Any]]) -> None:
    """Nothing is told of it: the control plane says it again."""
    refused, other = launcher.api.command(), launcher.api.command(tenant="beta")
    server.jobs["one"].append(a_job("one", "acme", JobSpec.of(refused, RESOURCES)))
    server.jobs["two"].append(a_job("two", "beta", JobSpec.of(other, RESOURCES)))
    server.answers |= answers
    assert launcher.cancel(refused) == []
    assert launcher.cancel(other) == []
    assert "PATCH two/jobs" in server.asked
    (told,) = launcher.cancel(launcher.api.command(tenant="beta"))
    assert isinstance(told, JobEnded)
    assert told.outcome == "absent"


def completed(job: dict[str, Any]) -> dict[str, Any]:
    condition = {"type": "Complete", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    return {**job, "status": {"conditions": [condition]}}


@pytest.mark.parametrize("answer", [NO_RIGHT, WEBHOOK_AWAY])
def test_a_job_that_may_not_be_removed_keeps_no_other(
    server: Server, backend: KubernetesBackend, api: Api, answer: tuple[int, Any]
) -> None:
    server.jobs = {"one": [completed(a_job("one", "acme"))], "two": [completed(a_job("two", "beta"))]}
    server.answers["DELETE one/jobs"] = answer
    told: list[LauncherEvent] = []
    with httpx.Client() as http:
        clock = DatabaseClock(api.base_url, http)
        observer = Observer(backend, told.extend, clock, lambda _: True, cluster="here", relist_seconds=1, retention=timedelta(0))
        observer.relist()
        observer.remove_stored()
    assert "DELETE two/jobs" in server.asked
    assert len([event for event in told if isinstance(event, JobEnded)]) == 2
