"""Whether the loops of a service still turn: what the liveness probe of one without an API asks."""

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

Beat = Callable[[], object]
"""Called by a loop at each turn."""


def unwatched() -> None:
    """The beat of a loop that nobody watches."""


StartResponse = Callable[[str, list[tuple[str, str]]], Any]


@dataclass(slots=True)
class Pulse:
    """When each loop turned last.

    Attributes:
        patience_seconds: how long a turn may take. Far more than a dependency that is down can make it.
    """

    patience_seconds: float = 300
    _due: dict[str, float] = field(default_factory=dict)

    def beat(self, loop: str, pause_seconds: float = 0) -> None:
        """The loop turns; before it does again, it pauses on purpose for so long."""
        self._due[loop] = time.monotonic() + pause_seconds + self.patience_seconds

    def forget(self, loop: str) -> None:
        """The loop has ended, and not by getting stuck."""
        self._due.pop(loop, None)

    def stuck(self) -> list[str]:
        """Loops that should have turned and did not."""
        now = time.monotonic()
        return sorted(loop for loop, due in self._due.copy().items() if due < now)


def serve(port: int, pulse: Pulse) -> ThreadingWSGIServer:
    """Answer `/healthz` and `/metrics` on that port, in threads of their own, until the process ends or `shutdown`."""
    metrics = make_wsgi_app()

    def answer(environ: Mapping[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/metrics":
            return metrics(environ, start_response)  # type: ignore[no-any-return]
        if environ["PATH_INFO"] != "/healthz":
            start_response("404 Not Found", [("Content-Type", "text/plain")])
            return [b"there are /healthz and /metrics\n"]
        stuck = pulse.stuck()
        start_response("503 Service Unavailable" if stuck else "200 OK", [("Content-Type", "application/json")])
        return [json.dumps({"status": "stuck" if stuck else "ok", "checks": dict.fromkeys(stuck, "does not turn")}).encode()]

    server = make_server("", port, answer, ThreadingWSGIServer, _Quiet)
    Thread(target=server.serve_forever, name="pulse", daemon=True).start()
    return server


class _Quiet(WSGIRequestHandler):
    """Probes are not worth a line each."""

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""
