"""Requests to the platform: sent again where that is safe, their errors as `StratumError`s."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
import stamina
from pydantic import BaseModel, ValidationError

from stratum.client.settings import Settings
from stratum.errors import (
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    ServerFault,
    StratumError,
    Unauthenticated,
    Unavailable,
)

T = TypeVar("T", bound=BaseModel)

_ERRORS: dict[int, type[StratumError]] = {
    400: Invalid,
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Conflict,
    413: Invalid,
    415: Invalid,
    422: Invalid,
    429: Unavailable,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}
_FROM_A_PROXY = (502, 504)
_HINTS: dict[type[StratumError], str] = {
    Unauthenticated: "Set STRATUM_TOKEN to a token of this platform.",
    Forbidden: "Ask for a token with a role that may do this.",
    Unavailable: "Try again later; `stratum status` shows the state of a local platform.",
}


class Transport:
    """Speaks HTTP with one platform. `retry_seconds` bounds how long one call is repeated while the platform does not answer."""

    def __init__(self, settings: Settings, retry_seconds: float, http: httpx.AsyncClient | None = None) -> None:
        self._settings = settings
        self._retry_seconds = retry_seconds
        self._http = http or httpx.AsyncClient(timeout=httpx.Timeout(30.0, connect=5.0))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._http.aclose()

    async def get(self, model: type[T], path: str, params: Mapping[str, Any] | None = None) -> T:
        """GET `path`; `params` that are None are left out."""
        given = {name: value for name, value in (params or {}).items() if value is not None}
        return _parsed(model, await self._repeated("GET", path, params=given, repeatable=True))

    async def post(
        self,
        model: type[T],
        path: str,
        body: BaseModel | None = None,
        *,
        repeatable: bool,
        key: str | None = None,
        answer_within: float = 30.0,
    ) -> T:
        """POST `body`.

        Args:
            repeatable: doing it twice is as doing it once; `key` (an `Idempotency-Key`) makes it so.
            answer_within: seconds that one answer may take.
        """
        content = body.model_dump_json(exclude_unset=True).encode() if body else None
        headers = {"Content-Type": "application/json"} if body else {}
        if key:
            headers["Idempotency-Key"] = key
        response = await self._repeated("POST", path, content=content, headers=headers, timeout=answer_within, repeatable=repeatable)
        return _parsed(model, response)

    async def _repeated(self, method: str, path: str, *, repeatable: bool, **request: Any) -> httpx.Response:
        def pause(error: Exception) -> bool | float:
            return pause_before_retry(error, repeatable=repeatable)

        async for attempt in stamina.retry_context(on=pause, attempts=None, timeout=self._retry_seconds, wait_max=5.0, wait_jitter=0.2):
            with attempt:
                return await self._once(method, path, **request)
        raise AssertionError("stamina returns or raises")

    async def _once(self, method: str, path: str, headers: Mapping[str, str] | None = None, **request: Any) -> httpx.Response:
        url = f"{self._settings.url.rstrip('/')}{path}"
        authorized = {"Authorization": f"Bearer {self._settings.token}", **(headers or {})}
        try:
            response = await self._http.request(method, url, headers=authorized, **request)
        except httpx.ConnectError as error:
            raise _unreachable(self._settings.url, error, maybe_done=False) from error
        except httpx.TransportError as error:
            raise _unreachable(self._settings.url, error, maybe_done=True) from error
        if response.is_success:
            return response
        raise error_of(response)


def pause_before_retry(error: Exception, *, repeatable: bool) -> bool | float:
    """Whether to send again what ended in `error`: no, yes, or yes after so many seconds (the server's `Retry-After`)."""
    if isinstance(error, Unavailable) and (repeatable or not error.maybe_done):
        return True if error.retry_after is None else error.retry_after
    if isinstance(error, Conflict) and repeatable and error.retry_after is not None:  # the same key is still being worked on
        return error.retry_after
    return False


def error_of(response: httpx.Response) -> StratumError:
    """The error that an unsuccessful response stands for."""
    problem = _problem(response)
    kind = _ERRORS.get(response.status_code, Invalid if response.is_client_error else ServerFault)
    detail = str(problem.get("detail") or problem.get("title") or f"HTTP status {response.status_code}")
    error = kind(detail + _wrong_fields(problem), _HINTS.get(kind, ""), problem)
    if isinstance(error, Unavailable | Conflict):
        error.retry_after = _retry_after(response)
    if isinstance(error, Unavailable):
        error.maybe_done = response.status_code in _FROM_A_PROXY
    return error


def _problem(response: httpx.Response) -> dict[str, Any]:
    try:
        document = response.json()
    except ValueError:
        document = None
    if isinstance(document, dict):
        return document
    shown = response.text[:200].strip() or "an empty body"
    return {
        "type": "about:blank",
        "title": response.reason_phrase,
        "status": response.status_code,
        "detail": f"{response.url} says: {shown}",
    }


def _wrong_fields(problem: Mapping[str, Any]) -> str:
    detail = str(problem.get("detail"))
    errors = [e for e in problem.get("errors") or [] if isinstance(e, dict) and str(e.get("detail")) not in detail]
    return "".join(f"\n  {error.get('pointer') or '/'}: {error.get('detail')}" for error in errors)


def _retry_after(response: httpx.Response) -> float | None:
    """`Retry-After` in seconds, at least 0; None if there is none, or none that can be read."""
    value = response.headers.get("Retry-After")
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def _unreachable(url: str, error: httpx.TransportError, *, maybe_done: bool) -> Unavailable:
    translated = Unavailable(f"The platform at {url} cannot be reached: {error or type(error).__name__}.", _HINTS[Unavailable])
    translated.maybe_done = maybe_done
    return translated


def _parsed(model: type[T], response: httpx.Response) -> T:
    try:
        document = response.json()
        if isinstance(document, dict):  # a newer platform may say more than this client knows
            document = {name: value for name, value in document.items() if name in model.model_fields}
        return model.model_validate(document)
    except (ValueError, ValidationError) as error:
        raise ServerFault(
            f"{response.url} answered with something that is not a {model.__name__}: {error}", "Is this a Stratum platform?"
        ) from error
