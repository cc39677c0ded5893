"""Rate limits of one API replica: by tenant, and by client address for requests without a valid credential. Callbacks are never limited."""

import hashlib
import ipaddress
import math
import re
import secrets
import time
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from control_plane.api import problems
from control_plane.errors import RateLimited, Unauthenticated

ADDRESS_CELLS = 1 << 14
GOOD_CREDENTIALS = 1 << 14
_NEVER = frozenset({("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/metrics"), ("POST", "/v1/processes/callback")})
"""Asked by the platform's own parts: probes, Prometheus, and runs, whose work is lost if nobody hears of it."""

_NAME = re.compile(r"\{[^}]*\}")


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
        seconds = self.wait(key)
        if not seconds:
            cell, now = self._cell(key), self._clock()
            self._free_from[cell] = max(self._free_from.get(cell, now), now) + self._interval
        return seconds

    def give_back(self, key: str) -> None:
        """Untake one that was granted."""
        cell = self._cell(key)
        if cell in self._free_from:
            self._free_from[cell] -= self._interval

    def wait(self, key: str) -> int:
        """The whole seconds after which one will be granted; 0: now. Takes nothing."""
        now = self._clock()
        wait = max(self._free_from.get(self._cell(key), now), now) - self._tolerance - now
        return math.ceil(wait) if wait > 1e-9 else 0

    def _cell(self, key: str) -> Hashable:
        return key if self._cells is None else hash((self._secret, key)) % self._cells


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


class GoodCredentials:
    """The last credentials that were found good, by a secret hash: their holders are not shut out by a neighbour at the same address."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(16)
        self._known: dict[bytes, None] = {}

    def remember(self, authorization: bytes) -> None:
        """It was good just now. The one that was not used for longest gives way."""
        name = self._name(authorization)
        self._known.pop(name, None)
        self._known[name] = None
        if len(self._known) > GOOD_CREDENTIALS:
            self._known.pop(next(iter(self._known)))

    def forget(self, authorization: bytes) -> None:
        """It is good no more."""
        self._known.pop(self._name(authorization), None)

    def has(self, authorization: bytes) -> bool:
        """Whether it was good."""
        return self._name(authorization) in self._known

    def _name(self, authorization: bytes) -> bytes:
        return hashlib.blake2b(authorization, digest_size=16, key=self._secret).digest()


def by_tenant(request: Request, tenant: str) -> None:
    """Count a request whose credential was found good, whether it may do what it asks for or not. Raises `RateLimited`."""
    limits: RateLimits = request.app.state.rate_limits
    request.app.state.good_credentials.remember(_authorization(request.scope))
    if limits.address is not None and request.state.is_counted:
        limits.address.give_back(_address(request.scope))
    if limits.tenant is not None and (seconds := limits.tenant.take(tenant)):
        raise RateLimited(f"The tenant sends more requests than it may; send this one again in {seconds} s.", retry_after=seconds)


class JudgedPaths:
    """The paths on which a credential is judged, so that one that is good no more is found out: (method, path) of each operation."""

    def __init__(self, operations: Iterable[tuple[str, str]]) -> None:
        of_methods: dict[str, list[str]] = {}
        for method, path in operations:
            of_methods.setdefault(method, []).append("[^/]+".join(map(re.escape, _NAME.split(path))))
        self._paths = {method: re.compile("|".join(paths)) for method, paths in of_methods.items()}

    def has(self, method: str, path: str) -> bool:
        """Whether somebody judges the credential of such a request."""
        paths = self._paths.get(method)
        return paths is not None and paths.fullmatch(path) is not None


def install(app: FastAPI, limits: RateLimits, judged: JudgedPaths) -> None:
    """Limit those who send no credential, or one that was not good before, before anything is done for them.

    What was taken for a credential that turns out good is given back. Where nobody judges one, or nothing is, it counts as none.
    """
    app.state.rate_limits = limits
    app.state.good_credentials = GoodCredentials()
    app.add_middleware(_Anonymous, judged=judged)

    async def wrong_credential(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, Unauthenticated)  # noqa: S101 - registered for this class alone
        app.state.good_credentials.forget(_authorization(request.scope))
        too_many = None if request.state.is_counted else _refusal(request.scope)
        return problems.response(too_many or error, request.url.path)

    app.add_exception_handler(Unauthenticated, wrong_credential)


class _Anonymous:
    """ASGI middleware: refuses requests without a credential, or with one that nobody knows or judges, over the limit of their address."""

    def __init__(self, app: Any, judged: JudgedPaths) -> None:
        self._app = app
        self._judged = judged

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Refuse, or hand on."""
        too_many = None
        if scope["type"] == "http":
            operation = (scope["method"], scope["path"])
            is_known = self._judged.has(*operation) and scope["app"].state.good_credentials.has(_authorization(scope))
            is_counted = not is_known and operation not in _NEVER
            scope.setdefault("state", {})["is_counted"] = is_counted
            if is_counted:
                too_many = _refusal(scope)
        answer = self._app if too_many is None else problems.response(too_many, scope["path"])
        await answer(scope, receive, send)


def _authorization(scope: Any) -> bytes:
    return next((bytes(value) for name, value in scope["headers"] if name == b"authorization"), b"")


def _refusal(scope: Any) -> RateLimited | None:
    limit: RateLimit | None = scope["app"].state.rate_limits.address
    if limit is None or (scope["method"], scope["path"]) in _NEVER:
        return None
    seconds = limit.take(_address(scope))
    if not seconds:
        return None
    return RateLimited(
        f"Too many requests without a valid credential come from this address; send an API key, or wait {seconds} s.", retry_after=seconds
    )


def _address(scope: Any) -> str:
    return network(scope["client"][0] if scope.get("client") else "")


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
