"""One POST of one delivery, and what became of it. No redirect is followed, no proxy of the environment asked, no body read."""

import asyncio
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Self

import httpcore

from control_plane.webhooks.connecting import GuardedBackend, Resolve
from control_plane.webhooks.targets import Target, TargetRules

_LONGEST_REASON = 300


@dataclass(frozen=True, slots=True)
class Answer:
    """What a receiver answered: a status, or none and the reason in plain words."""

    status: int | None
    failure: str | None = None
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds for connecting, for each read and write, and for all of it."""

    connect: float
    read: float
    total: float


class Sender:
    """Sends to where the rules allow. Every delivery has a connection of its own, so that none escapes the check of its address."""

    def __init__(self, rules: TargetRules, timeouts: Timeouts, trust: ssl.SSLContext, resolve: Resolve) -> None:
        self._rules = rules
        self._timeouts = timeouts
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=trust, max_connections=None, max_keepalive_connections=0, network_backend=GuardedBackend(rules, resolve)
        )

    async def __aenter__(self) -> Self:
        await self._pool.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._pool.aclose()

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send, and wait for status and headers alone.

        Raises:
            TargetRefused: nothing was sent, and never will be.
        """
        target = self._rules.target(url)
        try:
            async with asyncio.timeout(self._timeouts.total):
                return await self._post(target, headers, body)
        except TimeoutError:
            return Answer(None, f"no complete answer came within {self._timeouts.total:g} s")
        except httpcore.ConnectTimeout as error:
            return Answer(None, _short(str(error) or f"no connection was made within {self._timeouts.connect:g} s"))
        except httpcore.TimeoutException:
            return Answer(None, f"nothing was heard for {self._timeouts.read:g} s")
        except httpcore.ConnectError as error:
            return Answer(None, _short(f"no connection was made: {error or type(error).__name__}"))
        except httpcore.NetworkError:
            return Answer(None, "the connection broke before an answer came")
        except httpcore.ProtocolError:  # its text quotes the receiver: whatever speaks there shall not be read through us
            return Answer(None, "the receiver closed without an answer, or its answer was not HTTP")

    async def _post(self, target: Target, headers: Mapping[str, str], body: bytes) -> Answer:
        read = self._timeouts.read
        url = httpcore.URL(scheme=target.scheme, host=target.host, port=target.port, target=target.path)
        sent = {"Host": target.netloc, "Content-Length": str(len(body)), "Connection": "close", **headers}
        timeouts = {"connect": self._timeouts.connect, "read": read, "write": read, "pool": self._timeouts.total}
        async with self._pool.stream("POST", url, headers=list(sent.items()), content=body, extensions={"timeout": timeouts}) as response:
            answered = {name.lower(): value for name, value in response.headers}
            wanted = _retry_after(answered.get(b"retry-after", b""), answered.get(b"date", b""))
            return Answer(response.status, _failure(response.status), wanted)


def _failure(status: int) -> str | None:
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return f"the receiver answered {status}: redirects are not followed, name the final URL"
    return f"the receiver answered {status}"


def _retry_after(value: bytes, date: bytes) -> float | None:
    """`Retry-After` in seconds; None if there is none, or none that can be read.

    A moment is the receiver's (RFC 9110, 10.2.3), and so counts from the receiver's own `Date`: this machine's clock has no say.
    """
    text = value.decode("latin-1").strip()
    if text.isascii() and text.isdecimal() and len(text) < 10:
        return float(text)
    with suppress(ValueError, TypeError, OverflowError):
        return max(0.0, (_moment(text) - _moment(date.decode("latin-1"))).total_seconds())
    return None


def _moment(text: str) -> datetime:
    moment = parsedate_to_datetime(text)
    return moment.replace(tzinfo=moment.tzinfo or UTC)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]}…"
