"""The HTTP server of the `api` role: uvicorn, with limits for what comes before there is a request, and an end that loses none."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from control_plane.api import problems
from control_plane.api.limits import PROBES
from control_plane.api.services import Services
from control_plane.errors import Busy, HeadersTooLarge, Malformed, Refusal, TooSlow, UriTooLong
from control_plane.settings import ApiLimits, ApiSettings

_PROBES = frozenset(path.encode() for path in PROBES)
_LINGER_SECONDS = 1.0
"""How long a refused connection is still read from and what comes thrown away: closed at once, the answer would be lost on its way."""
_BLOCKING_THREADS = 64
BEYOND = 100
"""Connections beyond the limit that may be open until they say what they want: it may be a probe."""
GRACEFUL_SECONDS = 20
"""How long requests under way may take when the server is told to end."""


class _Stop(Exception):
    """Ends the parsing of a request that is refused."""


class LimitedProtocol(HttpToolsProtocol):
    """One connection. `limits` are set by `protocol`.

    A request must be here, to the last byte of its body, `request_seconds` after its first byte (or the connection) came.
    """

    limits: ApiLimits
    beyond: dict["LimitedProtocol", None]
    """Connections over the limit, the oldest first. Probes are answered on them, nothing else: who only holds connections shall not have
    this server restarted."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection; when there are too many, to be asked for a probe alone."""
        super().connection_made(transport)
        self._refused = False
        self._in_head = True
        self._ended = False
        self._head_bytes = 0
        self._deadline: asyncio.TimerHandle | None = None
        self._ask_in_time()
        if len(self.connections) - len(self.beyond) > self.limits.max_connections:
            self.beyond[self] = None
            if len(self.beyond) > BEYOND:
                oldest = next(iter(self.beyond))
                oldest._refuse(oldest._too_many())

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._forget_deadline()
        self.beyond.pop(self, None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came, within the limits."""
        if self._refused:
            return
        if self._in_head and self._deadline is None:
            self._ask_in_time()
        super().data_received(data)
        # the parser keeps a header that is not complete to itself; what came with the end of a request is counted with what comes next
        if self._ended:
            self._ended = False
        elif self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > self.limits.max_header_bytes + self.limits.max_url_bytes and not self._refused:
                self._refuse(self._headers_too_large())

    def on_message_begin(self) -> None:
        """Another request begins."""
        self._in_head = True
        self._head_bytes = self._header_bytes = 0
        self._ask_in_time()
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """A piece of the request line."""
        super().on_url(url)
        if len(self.url) > self.limits.max_url_bytes:
            self._end(UriTooLong(f"Path and query together may have at most {self.limits.max_url_bytes} bytes."))

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        super().on_header(name, value)
        self._header_bytes += len(name) + len(value) + 4
        if self._header_bytes > self.limits.max_header_bytes or len(self.headers) > self.limits.max_headers:
            self._end(self._headers_too_large())

    def on_headers_complete(self) -> None:
        """The head is here; a body may follow."""
        self._in_head = False
        self._head_bytes = 0
        is_beyond = self in self.beyond
        if is_beyond and self.url not in _PROBES:
            self._end(self._too_many())
        super().on_headers_complete()
        if is_beyond and self.cycle is not None:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        """All of the request is here."""
        self._in_head = self._ended = True
        self._forget_deadline()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP; uvicorn calls this after `_end` too."""
        if not self._refused:
            self._refuse(Malformed("What was sent is not an HTTP request."))

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection; soon by force, if its other side does not take what was sent."""
        super().timeout_keep_alive_handler()
        self.loop.call_later(self.timeout_keep_alive, self.transport.abort)

    def _ask_in_time(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(self.limits.request_seconds, self._too_slow)

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self._deadline = None
        self._refuse(TooSlow(f"The request was not complete after {self.limits.request_seconds:g} s."))

    def _too_many(self) -> Busy:
        return Busy(
            f"This server has as many connections as it may ({self.limits.max_connections}). Send the request again.", retry_after=1
        )

    def _headers_too_large(self) -> HeadersTooLarge:
        return HeadersTooLarge(
            f"There may be at most {self.limits.max_headers} headers with at most {self.limits.max_header_bytes} bytes together."
        )

    def _end(self, refusal: Refusal) -> None:
        self._refuse(refusal)
        raise _Stop

    def _refuse(self, refusal: Refusal) -> None:
        """Answer and close. The answer to an earlier request that is under way on this connection is not mixed with ours."""
        self._refused = True
        self._forget_deadline()
        self.connections.discard(self)
        self.beyond.pop(self, None)
        if self.transport.is_closing():
            return
        under_way = self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if under_way:
            self.transport.close()
            return
        self.transport.write(_written(refusal))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(_LINGER_SECONDS, self.transport.abort)


def _written(refusal: Refusal) -> bytes:
    answer = problems.response(refusal, None)
    headers = [*answer.raw_headers, (b"connection", b"close")]
    return b"".join([STATUS_LINE[refusal.status], *(b"%b: %b\r\n" % header for header in headers), b"\r\n", bytes(answer.body)])


def protocol(limits: ApiLimits) -> type[LimitedProtocol]:
    """The protocol with these limits: uvicorn makes one object of it for each connection."""
    return type("Protocol", (LimitedProtocol,), {"limits": limits, "beyond": {}})


class Server(uvicorn.Server):
    """Told to end, it first says so by `/readyz` for `drain_seconds` and serves on; then it takes no more connections, and finishes."""

    def __init__(self, config: uvicorn.Config, services: Services, drain_seconds: float) -> None:
        super().__init__(config)
        self._services = services
        self._drain_seconds = drain_seconds

    async def startup(self, sockets: Any = None) -> None:
        """Listen. Blocking calls get threads of ours: a few that wait for an object store must not keep the others waiting."""
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_BLOCKING_THREADS))
        await super().startup(sockets)

    async def shutdown(self, sockets: Any = None) -> None:
        """Drain, then end."""
        self._services.drain.begin()
        await asyncio.sleep(self._drain_seconds)
        await super().shutdown(sockets)


def serve(app: FastAPI, settings: ApiSettings) -> None:
    """Serve until a signal ends it."""
    config = uvicorn.Config(
        app,
        host=settings.http_host,
        port=settings.http_port,
        http=protocol(settings),
        ws="none",
        backlog=settings.max_connections,
        log_config=None,
        access_log=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=GRACEFUL_SECONDS,
        server_header=False,
    )
    Server(config, app.state.services, settings.drain_seconds).run()
