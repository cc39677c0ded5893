"""A real HTTP server that answers by script, for what a healthy platform never does: cut connections, 503, foreign bodies."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

CUT = object()
"""As a status: read the request, then close the connection without an answer."""


@dataclass
class Reply:
    """One scripted answer. A `bytes` body is sent as it is, anything else as JSON."""

    status: Any = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Request:
    """One request that arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class ScriptedServer:
    """Answers with `replies` one after the other; the last one again and again. `requests` holds what arrived."""

    url: str
    replies: list[Reply] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answers(self, *replies: Reply) -> None:
        """Set the script."""
        self.replies = list(replies)

    def take(self, request: Request) -> Reply:
        """Note the request and give the next answer."""
        with self.lock:
            self.requests.append(request)
            return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            reply = scripted.take(Request(self.command, self.path, dict(self.headers), body))
            if reply.status is CUT:
                self.close_connection = True
                return
            content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            self.send_response(reply.status)
            for name, value in {"Content-Length": str(len(content)), **reply.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = _answer

        def log_message(self, *args: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    scripted = ScriptedServer(f"http://127.0.0.1:{http.server_address[1]}")
    thread = threading.Thread(target=http.serve_forever)
    thread.start()
    try:
        yield scripted
    finally:
        http.shutdown()
        thread.join()
        http.server_close()


@pytest.fixture
def process() -> dict[str, Any]:
    """A process document as the platform sends it."""
    return {
        "id": "0199d1c0-0000-7000-8000-000000000001",
        "state": "succeeded",
        "reason": "sealed",
        "entity_id": "cust_8842",
        "data_version": "v2024.10.05",
        "action": "aggregate_revenue",
        "action_revision": f"sha256:{'0' * 64}",
        "parameters": {"currency": "EUR"},
        "input_dataset": "source",
        "output_dataset": "aggregate_revenue",
        "output_data_version": "v2024.10.05",
        "priority": 0,
        "labels": {},
        "queue": None,
        "attempts": [],
        "metrics": {},
        "artifacts": [],
        "created_at": "2026-01-01T00:00:00Z",
        "ended_at": "2026-01-01T00:00:09Z",
        "retry_of": None,
        "a_field_of_a_newer_platform": 1,
    }
