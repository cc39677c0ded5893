"""The callback endpoint, as a small real HTTP server: the jobs' protocol is the subject here, not the control plane."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Condition, Thread
from typing import Any

Answer = tuple[int, dict[str, Any]]


@dataclass
class CallbackServer:
    """Records reports and answers each with a grant, unless `answer` says otherwise."""

    url: str = ""
    storage_root: str = "s3://probe"
    heartbeat_seconds: float = 0.2
    reports: list[dict[str, Any]] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    answer: Callable[[dict[str, Any]], Answer | None] = lambda report: None
    changed: Condition = field(default_factory=Condition)

    def receive(self, report: dict[str, Any], token: str) -> Answer:
        with self.changed:
            self.reports.append(report)
            self.tokens.append(token)
            self.changed.notify_all()
        return self.answer(report) or (200, self.grant())

    def grant(self) -> dict[str, Any]:
        return {
            "run_token": f"run-token-{len(self.reports)}",
            "expires_at": "2100-01-01T00:00:00Z",
            "heartbeat_seconds": self.heartbeat_seconds,
            "storage_root": self.storage_root,
            "state": "started",
        }

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        return [report for report in self.reports if report["type"] == kind]

    def wait_for(self, kind: str, seconds: float = 60) -> dict[str, Any]:
        with self.changed:
            assert self.changed.wait_for(lambda: self.of_type(kind), seconds), f"no {kind!r} within {seconds} s: {self.reports}"
        return self.of_type(kind)[0]


@contextmanager
def serving(server: CallbackServer) -> Iterator[CallbackServer]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            report = json.loads(self.rfile.read(int(self.headers["content-length"])))
            status, body = server.receive(report, self.headers["authorization"].removeprefix("Bearer "))
            payload = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        server.url = f"http://127.0.0.1:{http.server_address[1]}/v1/processes/callback"
        thread = Thread(target=http.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()
