"""What the answers of an API server mean to the launcher."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from kubernetes.client import ApiClient, Configuration
from kubernetes.config import load_kube_config

from contracts.identifiers import new_id
from launcher.errors import BackendBusy, BackendError, BackendUnavailable, CommandUnfit
from launcher.kubernetes.api import AlreadyExists, ApiRefused, Conflict, Gone, KubernetesApi, NotFound, WebhookFailed
from launcher.kubernetes.refusals import refused_job
from tests.cluster.cluster import Cluster
from tests.e2e.platform import wait_for
from tests.launcher.kubernetes.world import TenantNamespace

PATH = "/apis/batch/v1/namespaces/one/jobs"


@contextmanager
def answering(status: int, body: bytes, headers: dict[str, str] | None = None) -> Iterator[KubernetesApi]:
    """An HTTP server that has one answer for everything."""

    class Answer(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = _answer

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            configuration = Configuration(host=f"http://127.0.0.1:{server.server_port}", retries=False)
            with ApiClient(configuration) as client:
                yield KubernetesApi(client)
        finally:
            server.shutdown()
            thread.join()


def status(code: int, reason: str, message: str = "words") -> bytes:
    return json.dumps({"kind": "Status", "code": code, "reason": reason, "message": message}).encode()


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (429, "TooManyRequests", BackendBusy),
        (500, "InternalError", BackendUnavailable),
        (503, "ServiceUnavailable", BackendUnavailable),
        (504, "Timeout", BackendUnavailable),
        (401, "Unauthorized", BackendUnavailable),
        (404, "NotFound", NotFound),
        (409, "AlreadyExists", AlreadyExists),
        (409, "Conflict", Conflict),
        (410, "Expired", Gone),
        (403, "Forbidden", ApiRefused),
        (422, "Invalid", ApiRefused),
    ],
)
def test_refusals_are_told_apart(code: int, reason: str, kind: type[BackendError]) -> None:
    with answering(code, status(code, reason)) as api, pytest.raises(kind, match="words") as error:
        api.create(PATH, {"metadata": {"name": "a"}})
    assert type(error.value) is kind


@pytest.mark.parametrize(
    ("code", "words", "kind"),
    [
        (500, 'Internal error occurred: failed calling webhook "a.b": context deadline exceeded', WebhookFailed),
        (503, 'admission webhook "a.b" denied the request: I am being restarted', WebhookFailed),
        (429, 'admission webhook "a.b" denied the request: too many', WebhookFailed),
        (409, 'admission webhook "a.b" denied the request: somebody else does it', WebhookFailed),
        (403, 'admission webhook "a.b" denied the request: no', ApiRefused),
    ],
)
def test_a_webhook_that_fails_is_not_the_api_server(code: int, words: str, kind: type[BackendError]) -> None:
    with answering(code, status(code, "", words)) as api, pytest.raises(kind, match="webhook") as error:
        api.create(PATH, {"metadata": {"name": "a"}})
    assert type(error.value) is kind


@pytest.mark.parametrize(("header", "seconds"), [({"Retry-After": "7"}, 7.0), ({"Retry-After": "soon"}, None), ({}, None)])
def test_server_says_how_long_to_leave_it_alone(header: dict[str, str], seconds: float | None) -> None:
    with answering(429, status(429, "TooManyRequests"), header) as api, pytest.raises(BackendBusy) as busy:
        api.get(PATH)
    assert busy.value.retry_after_seconds == seconds


@pytest.mark.parametrize("body", [b"<html>a proxy's login page</html>", b""])
def test_answer_of_something_else(body: bytes) -> None:
    with answering(200, body) as api, pytest.raises(BackendUnavailable, match="makes no sense"):
        api.get(PATH)
    with answering(502, body) as api, pytest.raises(BackendUnavailable, match="502"):
        api.get(PATH)


def test_watch_that_is_told_to_list_again() -> None:
    event = json.dumps({"type": "ERROR", "object": json.loads(status(410, "Expired"))}).encode() + b"\n"
    with answering(200, event) as api, api.watch(PATH, "1") as watch, pytest.raises(Gone):
        list(watch.events())


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (ApiRefused(403, "Forbidden", 'jobs.batch "a" is forbidden: exceeded quota: q'), CommandUnfit, "takes no more Jobs"),
        (ApiRefused(403, "Forbidden", 'User "x" cannot create resource "jobs" in API group'), CommandUnfit, "contracts/access.py"),
        (WebhookFailed(500, "InternalError", 'failed calling webhook "a.b": connection refused'), CommandUnfit, "connection refused"),
        (ApiRefused(403, "Forbidden", 'admission webhook "a.b" denied the request: no'), CommandUnfit, "refuses the run's Job"),
        (ApiRefused(403, "Forbidden", "unable to create new content because it is being terminated"), CommandUnfit, "not there"),
        (NotFound(404, "NotFound", 'namespaces "one" not found'), CommandUnfit, "not there"),
        (ApiRefused(422, "Invalid", "spec.template: Invalid value"), CommandUnfit, "spec.template"),
        (Conflict(409, "Conflict", "Operation cannot be fulfilled on resourcequotas"), BackendBusy, "resourcequotas"),
    ],
)
def test_meaning_for_a_command(error: ApiRefused, kind: type[Exception], says: str) -> None:
    meaning = refused_job(error, "one")
    assert type(meaning) is kind
    assert says in str(meaning)


@pytest.mark.cluster
def test_real_server_forgets_old_versions(namespace: TenantNamespace) -> None:
    with _of_a_new_kind(namespace.cluster) as path, _as_administrator() as api:
        api.get(path)
        with pytest.raises(Gone), api.watch(path, "1") as watch:
            list(watch.events())


@contextmanager
def _of_a_new_kind(cluster: Cluster) -> Iterator[str]:
    """Where objects of a kind would lie that was made just now: what the server remembers of it begins here, and of others at its start."""
    group, plural = f"g{new_id().hex[-12:]}.stratum.dev", "things"
    schema = {"openAPIV3Schema": {"type": "object"}}
    names = {"plural": plural, "singular": "thing", "kind": "Thing"}
    versions = [{"name": "v1", "served": True, "storage": True, "schema": schema}]
    kind = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {"group": group, "scope": "Cluster", "names": names, "versions": versions},
    }
    cluster.apply(kind)
    try:
        cluster.kubectl("wait", f"crd/{plural}.{group}", "--for=condition=Established", "--timeout=60s")
        wait_for(lambda: bool(cluster.kubectl("get", "--raw", f"/apis/{group}/v1/{plural}", check=False)), 60, lambda: "the new kind")
        yield f"/apis/{group}/v1/{plural}"
    finally:
        cluster.kubectl("delete", "crd", f"{plural}.{group}", "--wait=false")


@contextmanager
def _as_administrator() -> Iterator[KubernetesApi]:
    configuration = Configuration()
    load_kube_config(client_configuration=configuration)
    with ApiClient(configuration) as client:
        yield KubernetesApi(client, watch_seconds=5, silence_seconds=3)
