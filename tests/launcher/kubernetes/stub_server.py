"""An API server with two namespaces, which answers as it is told. A real cluster does not fail at a word."""

import json
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from kubernetes.client import ApiClient, Configuration

from launcher.job import JobSpec
from launcher.kubernetes.api import KubernetesApi
from launcher.kubernetes.config import KubernetesConfig
from launcher.kubernetes.job_manifest import job_manifest
from launcher.kubernetes.platform import Platform
from tests.launcher.samples import a_spec

Document = dict[str, Any]

PLATFORM = Platform(cluster="here", s3_endpoint="http://s3", s3_region="us-east-1", kill_grace_seconds=20)
CONFIG = KubernetesConfig.model_validate(
    {
        "tenants": {"acme": {"namespace": "one"}, "beta": {"namespace": "two"}, "gamma": {"namespace": "two"}},
        "sidecar_image": "launcher:1",
        "image_patience_seconds": 2,
    }
)


def status(code: int, reason: str, message: str) -> tuple[int, Document]:
    """A refusal as Kubernetes writes it."""
    return code, {"kind": "Status", "code": code, "reason": reason, "message": message}


FORBIDDEN = status(403, "Forbidden", 'User "x" cannot list resource "jobs"')
FULL = status(403, "Forbidden", 'jobs "a" is forbidden: exceeded quota: q')
WEBHOOK_AWAY = status(500, "InternalError", 'Internal error occurred: failed calling webhook "mutate.example": connection refused')
EXPIRED = status(410, "Expired", "the provided continue parameter is too old")


def a_job(namespace: str, tenant: str, spec: JobSpec | None = None) -> Document:
    """A Job as the server would show it that has just been made."""
    spec = spec or a_spec(tenant=tenant)
    job = job_manifest(spec, CONFIG.place(tenant), CONFIG, PLATFORM, "secret")
    job["metadata"] |= {"namespace": namespace, "uid": spec.name, "resourceVersion": "1", "creationTimestamp": "2026-01-01T00:00:00Z"}
    return {**job, "status": {}}


class Server(ThreadingHTTPServer):
    """Refuses to show the namespaces in `refused`, and answers what `answers` holds for `<method> <namespace>/<kind>` (also LIST, WATCH).

    `pages`: answers to the next lists of a namespace's Jobs. `watches`: what its next watches of Jobs say before they end; without one they
    say nothing and stay open. `asked`: every request, in the same words as `answers`.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.refused: set[str] = set()
        self.answers: dict[str, tuple[int, Document]] = {}
        self.jobs: dict[str, list[Document]] = {"one": [], "two": []}
        self.pods: dict[str, list[Document]] = {"one": [], "two": []}
        self.pages: dict[str, deque[tuple[int, Document]]] = {"one": deque(), "two": deque()}
        self.watches: dict[str, deque[list[Document]]] = {"one": deque(), "two": deque()}
        self.asked: list[str] = []
        self.over = threading.Event()

    @contextmanager
    def serving(self) -> Iterator[KubernetesApi]:
        """The launcher's side of it."""
        thread = threading.Thread(target=self.serve_forever, args=(0.05,))
        thread.start()
        try:
            with ApiClient(Configuration(host=f"http://127.0.0.1:{self.server_port}", retries=False)) as client:
                yield KubernetesApi(client)
        finally:
            self.over.set()
            self.shutdown()
            thread.join()
            self.server_close()


class Answer(BaseHTTPRequestHandler):
    """One request."""

    server: Server

    def do_GET(self) -> None:
        namespace, kind, name, watched = self._asked()
        items = {"jobs": self.server.jobs, "pods": self.server.pods}.get(kind, {}).get(namespace, [])
        if namespace in self.server.refused:
            self._say(*FORBIDDEN)
        elif name:
            found = [item for item in items if item["metadata"]["name"] == name]
            self._say(200, found[0]) if found else self._say(*status(404, "NotFound", "gone"))
        elif watched:
            self._watch(self.server.watches[namespace] if kind == "jobs" else deque())
        elif kind == "jobs" and self.server.pages[namespace]:
            self._say(*self.server.pages[namespace].popleft())
        else:
            self._say(200, {"items": items, "metadata": {"resourceVersion": "1"}})

    def do_POST(self) -> None:
        """What is made is shown from then on."""
        namespace, kind, _, _ = self._asked()
        document = self._body()
        document["metadata"] |= {"uid": document["metadata"]["name"], "resourceVersion": "1", "creationTimestamp": "2026-01-01T00:00:00Z"}
        if kind == "jobs" and self._question not in self.server.answers:
            self.server.jobs[namespace].append({**document, "status": {}})
        self._say(201, document)

    def do_PATCH(self) -> None:
        self._asked()
        self._body()
        self._say(200, {})

    do_DELETE = do_PATCH

    def _asked(self) -> tuple[str, str, str, bool]:
        address = urlsplit(self.path)
        namespace, kind, *name = address.path.split("/namespaces/")[1].split("/")
        watched = "watch" in parse_qs(address.query)
        verb = "WATCH" if watched else "LIST" if self.command == "GET" and not name else self.command
        self._question = f"{verb} {namespace}/{kind}"
        self.server.asked.append(self._question)
        return namespace, kind, "".join(name), watched

    def _body(self) -> Document:
        document: Document = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        return document

    def _watch(self, scripted: deque[list[Document]]) -> None:
        self.send_response(200)
        self.end_headers()
        if scripted:
            for event in scripted.popleft():
                self.wfile.write(json.dumps(event).encode() + b"\n")
        else:
            self.wfile.flush()
            self.server.over.wait(20)

    def _say(self, code: int, document: Document) -> None:
        code, document = self.server.answers.get(self._question, (code, document))
        body = json.dumps(document).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""
