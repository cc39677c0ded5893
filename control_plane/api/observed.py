"""What is told of every request: a trace id in its log lines and its answer, the time it took, one line at its end."""

import time
from typing import Any

import structlog
from fastapi.routing import APIRoute
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from contracts.identifiers import new_id
from control_plane import metrics

log = structlog.get_logger()
_PROBES = ("/healthz", "/readyz", "/metrics")


class Observed:
    """ASGI middleware. Of an exception that nobody handles it tells as of an answer with status 500, which is what becomes of it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on, and tell."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        trace_id = _trace_id(scope)
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(trace_id=trace_id)
        status = 500

        async def traced(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Trace-Id"] = trace_id
            await send(message)

        begin = time.perf_counter()
        try:
            await self._app(scope, receive, traced)
        finally:
            _tell(scope, status, time.perf_counter() - begin)


def _trace_id(scope: Scope) -> str:
    """The caller's (https://www.w3.org/TR/trace-context/), or a new one."""
    traceparent: bytes = next((value for name, value in scope["headers"] if name == b"traceparent"), b"")
    parts = traceparent.decode("latin-1").split("-")
    return parts[1] if len(parts) == 4 and len(parts[1]) == 32 else new_id().hex


def _tell(scope: Scope, status: int, seconds: float) -> None:
    route: Any = scope.get("route")
    path = route.path if isinstance(route, APIRoute) else "unknown"
    metrics.REQUESTS.labels(scope["method"], path, str(status)).observe(seconds)
    if not path.startswith(_PROBES):
        log.info("request", method=scope["method"], path=scope["path"], status=status, seconds=round(seconds, 4))
