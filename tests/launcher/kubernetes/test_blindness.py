"""A namespace that is not there, or not shown, hides its own tenants' Jobs and nobody else's."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from kubernetes.client import ApiClient, Configuration

from launcher.errors import BackendUnavailable, CommandUnfit
from launcher.job import Pending
from launcher.kubernetes import names
from launcher.kubernetes.api import KubernetesApi
from launcher.kubernetes.backend import KubernetesBackend
from launcher.kubernetes.config import KubernetesConfig
from launcher.kubernetes.job_manifest import job_manifest
from launcher.kubernetes.platform import Platform
from tests.launcher.samples import a_spec

PLATFORM = Platform(cluster="here", s3_endpoint="http://s3", s3_region="us-east-1", kill_grace_seconds=20)
CONFIG = KubernetesConfig.model_validate(
    {
        "tenants": {"acme": {"namespace": "one"}, "beta": {"namespace": "two"}, "gamma": {"namespace": "two"}},
        "sidecar_image": "launcher:1",
    }
)
FORBIDDEN = json.dumps({"kind": "Status", "code": 403, "reason": "Forbidden", "message": 'User "x" cannot list resource "jobs"'}).encode()
FULL = json.dumps({"kind": "Status", "code": 403, "reason": "Forbidden", "message": 'jobs "a" is forbidden: exceeded quota: q'}).encode()


class Server(ThreadingHTTPServer):
    """An API server with some Jobs, which refuses the namespaces in `refused`, and every new Job if `is_full`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.refused: set[str] = set()
        self.jobs: dict[str, list[dict[str, Any]]] = {"one": [], "two": []}
        self.is_full = False
        self.over = threading.Event()


class Answer(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        namespace, kind = address.path.split("/namespaces/")[1].split("/", 1)
        items = self.server.jobs[namespace] if kind.startswith("jobs") else []
        if namespace in self.server.refused:
            self._say(403, FORBIDDEN)
        elif "watch" in parse_qs(address.query):
            self._say(200, b"", whole=False)
            self.server.over.wait(20)
        elif "/" in kind:
            found = [item for item in items if item["metadata"]["name"] == kind.split("/")[1]]
            self._say(200, json.dumps(found[0]).encode()) if found else self._say(404, b'{"reason": "NotFound", "message": "gone"}')
        else:
            self._say(200, json.dumps({"items": items, "metadata": {"resourceVersion": "1"}}).encode())

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.server.is_full and "/jobs" in self.path:
            self._say(403, FULL)
        else:
            self._say(201, b"{}")

    def _say(self, status: int, body: bytes, *, whole: bool = True) -> None:
        self.send_response(status)
        if whole:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def _serving(server: Server) -> Iterator[KubernetesApi]:
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        with ApiClient(Configuration(host=f"http://127.0.0.1:{server.server_port}", retries=False)) as client:
            yield KubernetesApi(client)
    finally:
        server.over.set()
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def backend(server: Server) -> Iterator[KubernetesBackend]:
    with _serving(server) as api:
        backend = KubernetesBackend(api, CONFIG, PLATFORM)
        yield backend
        server.over.set()
        backend.close()


def a_job(namespace: str, tenant: str) -> dict[str, Any]:
    spec = a_spec(tenant=tenant)
    job = job_manifest(spec, CONFIG.place(tenant), CONFIG, PLATFORM, "secret")
    job["metadata"] |= {"namespace": namespace, "uid": spec.name, "resourceVersion": "1", "creationTimestamp": "2026-01-01T00:00:00Z"}
    return {**job, "status": {}}


def test_a_survey_names_whose_jobs_it_could_not_see(server: Server, backend: KubernetesBackend) -> None:
    server.jobs["one"].append(a_job("one", "acme"))
    server.jobs["two"].append(a_job("two", "beta"))
    assert (len(backend.survey().jobs), backend.survey().unseen) == (2, ())
    server.refused = {"two"}
    survey = backend.survey()
    assert ([job.attempt.tenant for job in survey.jobs], survey.unseen) == (["acme"], ("beta", "gamma"))
    with pytest.raises(BackendUnavailable, match="cannot list"):
        backend.jobs()
    server.refused = {"one", "two"}
    with pytest.raises(BackendUnavailable, match="cannot list"):
        backend.survey()


def test_changes_of_the_others_are_told(server: Server, backend: KubernetesBackend) -> None:
    server.refused = {"two"}
    server.jobs["one"].append(a_job("one", "acme"))
    (job,) = backend.changes(5)
    assert (job.attempt.tenant, isinstance(job.state, Pending)) == ("acme", True)
    assert backend.changes(0) == []


def test_when_nothing_is_shown_nobody_is_told_that_all_is_quiet(server: Server, backend: KubernetesBackend) -> None:
    server.refused = {"one", "two"}
    with pytest.raises(BackendUnavailable, match="no namespace of one, two can be watched"):
        backend.changes(0)


def test_a_full_quota_is_want_of_room(server: Server, backend: KubernetesBackend) -> None:
    server.is_full = True
    with pytest.raises(CommandUnfit, match="exceeded quota") as unfit:
        backend.submit(a_spec(tenant="acme"))
    assert unfit.value.error_class == "QUOTA_EXCEEDED"


def test_the_job_that_fills_its_quota_is_adopted(server: Server, backend: KubernetesBackend) -> None:
    """The API server judges the quota before the name: a command that comes again is refused for the Job that it made itself."""
    spec = a_spec(tenant="acme")
    job = job_manifest(spec, CONFIG.place("acme"), CONFIG, PLATFORM, "secret")
    job["metadata"] |= {"namespace": "one", "uid": "1", "annotations": {**job["metadata"]["annotations"], names.DIGEST: spec.digest}}
    server.jobs["one"].append({**job, "status": {}})
    server.is_full = True
    assert backend.submit(spec).adopted
