"""Rate limits of one API replica: by tenant, and by client address for requests without a valid credential. Callbacks are never limited."""

import ipaddress
import math
import secrets
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from control_plane.api import problems
from control_plane.api.auth import Reader
from control_plane.errors import RateLimited, Unauthenticated

ADDRESS_CELLS = 1 << 14
_NEVER = frozenset({"/healthz", "/readyz", "/metrics", "/v1/processes/callback"})
"""Asked by the platform's own parts: probes, Prometheus, and runs, whose work is lost if nobody hears of it."""


class RateLimit:
    """At most `per_second` on average for each key, and `burst` at once (GCRA). It keeps one number a key.

    Keys that a stranger may make up are spread over `cells` by a secret hash: however many come, no more is kept than that. Two in one
    cell share its rate. None: every key for itself, for those that only we make.
    """

    def __init__(self, per_second: float, burst: int, cells: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = 1 / per_second
        self._tolerance = self._interval * (burst - 1)
        self._clock = clock
        self._cells = cells
        self._secret = secrets.token_bytes(16)
        self._free_from: dict[Hashable, float] = {}
        """The moment from which on a key, or its cell, is as if it had never been used."""

    def __len__(self) -> int:
        """How many numbers it keeps."""
        return len(self._free_from)

    def take(self, key: str) -> int:
        """Take one. 0: granted; else the whole seconds after which the next one will be."""
        cell: Hashable = key if self._cells is None else hash((self._secret, key)) % self._cells
        now = self._clock()
        free_from = max(self._free_from.get(cell, now), now)
        wait = free_from - self._tolerance - now
        if wait > 1e-9:
            return math.ceil(wait)
        self._free_from[cell] = free_from + self._interval
        return 0


@dataclass(frozen=True, slots=True)
class RateLimits:
    """The limits of this replica; None: not limited."""

    tenant: RateLimit | None
    address: RateLimit | None

    @classmethod
    def of(cls, tenant_per_second: float, address_per_second: float, burst_seconds: float) -> "RateLimits":
        """0 a second is off."""

        def limit(per_second: float, cells: int | None) -> RateLimit | None:
            return RateLimit(per_second, max(1, round(per_second * burst_seconds)), cells) if per_second else None

        return cls(limit(tenant_per_second, None), limit(address_per_second, ADDRESS_CELLS))


async def by_tenant(request: Request, caller: Reader) -> None:
    """A dependency of all routes that a tenant calls."""
    limits: RateLimits = request.app.state.rate_limits
    if limits.tenant is not None and (seconds := limits.tenant.take(caller.tenant)):
        raise RateLimited(f"The tenant sends more requests than it may; send this one again in {seconds} s.", retry_after=seconds)


def install(app: FastAPI, limits: RateLimits) -> None:
    """Limit those who send no credential before anything is done for them, and those who send a wrong one when it is found wrong."""
    app.state.rate_limits = limits
    app.add_middleware(_Anonymous)

    async def wrong_credential(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, Unauthenticated)  # noqa: S101 - registered for this class alone
        anonymous = "authorization" not in request.headers  # was counted on its way in
        too_many = None if anonymous else _refusal(request.scope)
        return problems.response(too_many or error, request.url.path)

    app.add_exception_handler(Unauthenticated, wrong_credential)


class _Anonymous:
    """ASGI middleware: refuses requests without a credential over the limit of their address."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Refuse, or hand on."""
        anonymous = scope["type"] == "http" and all(name != b"authorization" for name, _ in scope["headers"])
        too_many = _refusal(scope) if anonymous else None
        answer = self._app if too_many is None else problems.response(too_many, scope["path"])
        await answer(scope, receive, send)


def _refusal(scope: Any) -> RateLimited | None:
    limit: RateLimit | None = scope["app"].state.rate_limits.address
    if limit is None or scope["path"] in _NEVER:
        return None
    seconds = limit.take(network(scope["client"][0] if scope.get("client") else ""))
    if not seconds:
        return None
    return RateLimited(
        f"Too many requests without a valid credential come from this address; send an API key, or wait {seconds} s.", retry_after=seconds
    )


def network(address: str) -> str:
    """What counts as one client: an IPv4 address, or the /64 that one IPv6 client has all of."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, 64), strict=False))
