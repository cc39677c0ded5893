"""What one request, and all of them together, may take of this replica; every refusal is a problem document, and comes at once."""

import asyncio
import re
from itertools import accumulate
from typing import Any

from fastapi import FastAPI

from control_plane.api import problems
from control_plane.errors import Busy, Malformed, Refusal, TooLarge, UriTooLong
from control_plane.settings import ApiLimits

_PROBES = frozenset({"/healthz", "/readyz"})
"""Answered however busy we are: a replica that is only busy must not be restarted for it."""
_BYTES_READ = re.compile(r"/uploads/[^/]+/seal$")
"""A seal reads every byte that was uploaded: it has a longer limit."""
_TEXT = re.compile(rb'"[^"\\]*+(?:\\(?:.|\Z)[^"\\]*+)*+(?:"|\Z)', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEPS = bytes.maketrans(b"[]{}", bytes((1, 255, 1, 255)))
"""One level down, and, read as a signed number, one up."""


def nests_deeper(body: bytes, most: int) -> bool:
    """Whether JSON in `body` nests deeper than `most`, without recursion and in time that grows with its length alone.

    What is no JSON may be called too deep; it is refused either way.
    """
    if body.count(b"[") + body.count(b"{") <= most:
        return False
    steps = _TEXT.sub(b"", body).translate(_STEPS, _NOT_BRACKETS)
    return max(accumulate(memoryview(steps).cast("b")), default=0) > most


class Limits:
    """ASGI middleware: length of the query, requests at once, time for each."""

    def __init__(self, app: Any, limits: ApiLimits) -> None:
        self._app = app
        self._limits = limits
        self._under_way = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Refuse, or hand on, within the time."""
        if scope["type"] != "http" or scope["path"] in _PROBES:
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await problems.response(refusal, scope["path"])(scope, receive, send)
            return
        self._under_way += 1
        try:
            await self._in_time(scope, receive, send)
        finally:
            self._under_way -= 1

    def _refusal(self, scope: Any) -> Refusal | None:
        if len(scope["query_string"]) > self._limits.max_query_bytes:
            return UriTooLong(f"The query may have at most {self._limits.max_query_bytes} bytes.")
        if self._under_way >= self._limits.max_requests:
            return Busy("This server works on as many requests as it may; nothing was done. Send the request again.", retry_after=1)
        return None

    async def _in_time(self, scope: Any, receive: Any, send: Any) -> None:
        begun = False

        async def watched(message: Any) -> None:
            nonlocal begun
            begun = True
            await send(message)

        seconds = self._limits.seal_seconds if _BYTES_READ.search(scope["path"]) else self._limits.answer_seconds
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                await self._app(scope, receive, watched)
        except TimeoutError:
            if begun or not limit.expired():
                raise  # half an answer: the server ends the connection, so that nobody takes it for a whole one
            refusal = Busy(f"No answer was ready after {seconds:g} s; it may have been done or not. Send the request again.", retry_after=2)
            await problems.response(refusal, scope["path"])(scope, receive, send)


class BodyLimit:
    """ASGI middleware: refuses a body over the limit, declared or not, before it is in memory; one nested too deep; and too much of all."""

    def __init__(self, app: Any, limits: ApiLimits) -> None:
        self._app = app
        self._limit = limits.max_body_bytes
        self._depth = limits.max_json_depth
        self._together = limits.max_bodies_bytes
        self._held = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Read the whole body within the limit, then hand it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = bytearray()
        try:
            await self._read(body, scope, receive, send)
        finally:
            self._held -= len(body)

    async def _read(self, body: bytearray, scope: Any, receive: Any, send: Any) -> None:
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self._limit:
            await problems.response(self._too_large(), scope["path"])(scope, receive, send)
            return
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            self._held += len(message.get("body", b""))
            more = message.get("more_body", False)
            if self._held > self._together:
                busy = Busy("This server holds as much of requests' bodies as it may; nothing was done. Send it again.", retry_after=1)
                await problems.response(busy, scope["path"])(scope, receive, send)
                return
            if len(body) > self._limit:
                await problems.response(self._too_large(), scope["path"])(scope, receive, send)
                return
        if nests_deeper(bytes(body), self._depth):
            refusal = Malformed(f"The body is not JSON, or nests more than {self._depth} levels deep.")
            await problems.response(refusal, scope["path"])(scope, receive, send)
            return
        whole: list[Any] = [{"type": "http.request", "body": bytes(body), "more_body": False}]

        async def replay() -> Any:
            return whole.pop() if whole else await receive()

        await self._app(scope, replay, send)

    def _too_large(self) -> TooLarge:
        return TooLarge(f"The body may have at most {self._limit} bytes; data files are uploaded through presigned URLs, not in the body.")


def install(app: FastAPI, limits: ApiLimits) -> None:
    """Limit all requests of `app`."""
    app.add_middleware(BodyLimit, limits=limits)
    app.add_middleware(Limits, limits=limits)
