"""What one request, and all of them together, may take of this replica; every refusal is a problem document, and comes at once."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import accumulate
from typing import Any

from fastapi import FastAPI, Request
from starlette.types import Message

from control_plane.api import problems
from control_plane.errors import Busy, Malformed, Refusal, TooLarge, TooSlow, UriTooLong
from control_plane.settings import ApiLimits

PROBES = frozenset({"/healthz", "/readyz"})
"""Answered however busy we are: a replica that is only busy must not be restarted for it."""
_BYTES_READ = re.compile(r"/uploads/[^/]+/seal$")
"""A seal reads every byte that was uploaded: it has a longer limit."""
_LISTS_FILES = frozenset({"create_upload"})
"""Its body may be longer than others: it names every file."""
_SECONDS_OF_PIECE = 1.0
"""More for each piece of an answer that was taken: a long one may take long, but nobody holds it by not reading."""
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
        if scope["type"] != "http" or scope["path"] in PROBES:
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
        seconds = self._limits.seal_seconds if _BYTES_READ.search(scope["path"]) else self._limits.answer_seconds
        clock = asyncio.get_running_loop().time
        until = clock() + seconds
        limit = asyncio.timeout_at(until)

        def move(to: float) -> None:
            nonlocal until
            until = to
            if not limit.expired():
                limit.reschedule(until)

        async def watched(message: Any) -> None:
            nonlocal begun
            if not begun:  # what may take long is done: from here on it is the caller who is waited for
                move(min(until, clock() + self._limits.answer_seconds))
            begun = True
            await send(message)
            if message.get("more_body"):
                move(until + _SECONDS_OF_PIECE)

        try:
            async with limit:
                await self._app(scope, receive, watched)
        except TimeoutError:
            if begun or not limit.expired():
                raise  # half an answer: the server ends the connection, so that nobody takes it for a whole one
            refusal = Busy(f"No answer was ready after {seconds:g} s; it may have been done or not. Send the request again.", retry_after=2)
            await problems.response(refusal, scope["path"])(scope, receive, send)


class Bodies:
    """The bodies of the requests under way: none is in memory that is over its limit, declared or not, and not too much of all."""

    def __init__(self, limits: ApiLimits) -> None:
        self._limits = limits
        self._held = 0

    @asynccontextmanager
    async def received(self, request: Request, operation: str) -> AsyncIterator[Request]:
        """The request, its whole body here.

        Raises:
            TooLarge: it has more bytes than a body of this operation may have.
            Busy: all bodies together have.
            Malformed: it nests too deep.
            TooSlow: it did not arrive; nobody hears of it any more.
        """
        most = self._limits.max_announcement_bytes if operation in _LISTS_FILES else self._limits.max_body_bytes
        body = bytearray()
        try:
            await self._read(body, request, most)
            if nests_deeper(bytes(body), self._limits.max_json_depth):
                raise Malformed(f"The body is not JSON, or nests more than {self._limits.max_json_depth} levels deep.")
            whole: list[Message] = [{"type": "http.request", "body": bytes(body), "more_body": False}]

            async def replay() -> Message:
                return whole.pop() if whole else await request.receive()

            yield Request(request.scope, replay)
        finally:
            self._held -= len(body)

    async def _read(self, body: bytearray, request: Request, most: int) -> None:
        declared = request.headers.get("content-length", "0")
        if declared.isdecimal() and int(declared) > most:
            raise _too_large(most)
        more = True
        while more:
            message = await request.receive()
            if message["type"] == "http.disconnect":
                raise TooSlow("The connection ended before the body did.")
            body += message.get("body", b"")
            self._held += len(message.get("body", b""))
            more = message.get("more_body", False)
            if self._held > self._limits.max_bodies_bytes:
                raise Busy("This server holds as much of requests' bodies as it may; nothing was done. Send it again.", retry_after=1)
            if len(body) > most:
                raise _too_large(most)


def _too_large(most: int) -> TooLarge:
    return TooLarge(f"The body may have at most {most} bytes; data files are uploaded through presigned URLs, not in the body.")


def install(app: FastAPI, limits: ApiLimits) -> None:
    """Limit all requests of `app`."""
    app.state.bodies = Bodies(limits)
    app.add_middleware(Limits, limits=limits)
