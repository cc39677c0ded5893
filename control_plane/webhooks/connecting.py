"""Connections of deliveries: a name is resolved once, every address of it is checked, and one of these very addresses is connected to.

Whatever a name's server answers a second time is never asked for. TLS and the Host header keep the name.
"""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpcore
import structlog

from control_plane.webhooks import addresses
from control_plane.webhooks.addresses import Address
from control_plane.webhooks.targets import TargetRefused, TargetRules

log = structlog.get_logger()

Resolve = Callable[[str, int], Awaitable[Sequence[Address]]]
"""All addresses of a name. Raises `OSError` when there are none."""

_THREADS = 64
_MOST_ADDRESSES = 4


class SystemResolver:
    """The machine's own resolver, in threads of its own: one that hangs keeps nobody else in the process waiting."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, "resolve")

    async def __call__(self, host: str, port: int) -> Sequence[Address]:
        """All addresses, in the order of preference."""
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._threads, _look_up, host, port)
        return list(dict.fromkeys(address for each in found if (address := addresses.read(str(each[4][0]))) is not None))

    def close(self) -> None:
        """Wait for nobody."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _look_up(host: str, port: int) -> list[Any]:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """What httpcore connects by. Nothing is sent where nothing may be sent: a forbidden address in the URL raises `TargetRefused`."""

    def __init__(self, rules: TargetRules, resolve: Resolve) -> None:
        self._rules = rules
        self._resolve = resolve
        self._sockets = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's own signature
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address of `host` that answers, each of them given its part of the time."""
        until = time.monotonic() + (timeout or 30.0)
        found = await self._checked(host, port, until - time.monotonic())
        for left in range(len(found), 0, -1):
            part = max(until - time.monotonic(), 0.0) / left
            try:
                return await self._sockets.connect_tcp(str(found[-left]), port, part, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if left == 1:
                    raise
        raise _nowhere(host)

    async def connect_unix_socket(self, path: str, timeout: float | None = None, socket_options: Any = None) -> httpcore.AsyncNetworkStream:  # noqa: ASYNC109 - httpcore's own signature
        """Never."""
        raise httpcore.UnsupportedProtocol("deliveries go to IP addresses only")

    async def sleep(self, seconds: float) -> None:
        """Of httpcore's own retries, which are off."""
        await asyncio.sleep(seconds)

    async def _checked(self, host: str, port: int, seconds: float) -> Sequence[Address]:
        literal = addresses.read(host)
        if literal is not None:
            self._rules.check_address(host, literal)
            return [literal]
        found = await self._resolved(host, port, seconds)
        try:
            for address in found:
                self._rules.check_address(host, address)
        except TargetRefused as refusal:
            log.warning("the name of a delivery's host leads where none may be sent", host=host, reason=str(refusal))
            raise _nowhere(host) from refusal
        return found[:_MOST_ADDRESSES]

    async def _resolved(self, host: str, port: int, seconds: float) -> Sequence[Address]:
        try:
            return await asyncio.wait_for(self._resolve(host, port), seconds)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(f"the name {host} was not resolved in time") from error
        except (OSError, UnicodeError) as error:
            raise _nowhere(host) from error


def _nowhere(host: str) -> httpcore.ConnectError:
    """The same whether the name has no address or a forbidden one: deliveries must not tell a tenant what our resolver knows."""
    return httpcore.ConnectError(f"{host} leads to no address that deliveries may be sent to")
