"""RFC 9457 problem documents: the one form of every error of the API."""

from collections.abc import Sequence
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from contracts.http import Problem
from control_plane.errors import (
    Invalid,
    Malformed,
    NotFound,
    OutcomeUnknown,
    Refusal,
    StorageUnavailable,
    TooLarge,
    Unavailable,
    UnknownSchema,
)

log = structlog.get_logger()
PROBLEM = "application/problem+json"
MOST_ERRORS = 20
"""Told in one answer; the others are counted."""
_LONGEST = 1000


def response(refusal: Refusal, instance: str | None) -> JSONResponse:
    """The answer for a refusal."""
    problem = Problem(
        type=f"urn:stratum:problem:{refusal.type}",
        title=refusal.title,
        status=refusal.status,
        detail=_shortened(refusal.detail),
        instance=instance,
        errors=_few(refusal.errors),
        errors_left_out=max(len(refusal.errors or ()) - MOST_ERRORS, 0) or None,
        suggestions=refusal.suggestions or None,
        owner_process_id=refusal.owner_process_id,
    )
    headers = {"Retry-After": str(refusal.retry_after)} if refusal.retry_after else {}
    if refusal.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(problem.model_dump(mode="json", exclude_none=True), refusal.status, headers, media_type=PROBLEM)


def _few(errors: list[dict[str, Any]] | None) -> list[dict[str, Any]] | None:
    """The first of them: names and values of the request stand in them, which may be as long as it is."""
    return errors and [{name: _shortened(value) for name, value in error.items()} for error in errors[:MOST_ERRORS]]


def _shortened(text: str) -> str:
    """What is wrong stands at the end, and the name of it at the start."""
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]} … {text[-_LONGEST // 2 :]}"


def documented(*refusals: type[Refusal]) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route, for OpenAPI."""
    by_status: dict[int, list[type[Refusal]]] = {}
    for refusal in refusals:
        by_status.setdefault(refusal.status, []).append(refusal)
    return {
        status: {
            "description": "; ".join(kind.title for kind in kinds),
            "content": {
                PROBLEM: {
                    "schema": {"$ref": "#/components/schemas/Problem"},
                    "examples": {
                        kind.type: {
                            "value": {
                                "type": f"urn:stratum:problem:{kind.type}",
                                "title": kind.title,
                                "status": kind.status,
                                "detail": (kind.__doc__ or "").strip(),
                            }
                        }
                        for kind in kinds
                    },
                }
            },
        }
        for status, kinds in by_status.items()
    }


def install(app: FastAPI) -> None:
    """Make every error of `app` a problem document."""

    async def refusal(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, Refusal)  # noqa: S101 - registered for this class alone
        if isinstance(error, OutcomeUnknown) and request.method in ("GET", "HEAD"):
            error = Unavailable("The database does not answer; nothing was changed. Send the request again.", retry_after=2)
        return response(error, request.url.path)

    async def wrong(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class alone
        return response(invalid(error), request.url.path)

    async def http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class alone
        kind = Refusal("")
        kind.status, kind.title, kind.detail = error.status_code, str(error.detail), f"{request.method} {request.url.path}: {error.detail}."
        if error.status_code == 404:
            kind = NotFound(f"There is no {request.url.path}; GET /openapi.json lists all paths.")
        elif error.status_code == 405:
            kind.type = "method-not-allowed"
        elif error.status_code == 400:
            kind = _malformed()
        answer = response(kind, request.url.path)
        answer.headers.update(error.headers or {})
        return answer

    async def storage(request: Request, error: Exception) -> JSONResponse:
        log.warning("storage unavailable", error=str(error), path=request.url.path)
        return response(Unavailable("The object store does not answer. Send the request again.", retry_after=5), request.url.path)

    async def schema(request: Request, error: Exception) -> JSONResponse:
        log.error("unknown schema", error=str(error), path=request.url.path)
        return response(Unavailable(f"The service cannot work yet: {error}.", retry_after=30), request.url.path)

    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        log.exception("unexpected error", path=request.url.path, exc_info=error)
        kind = Refusal("This is a defect of Stratum; the log of the API has its cause under the response's trace id.")
        kind.status, kind.type, kind.title = 500, "internal", "Something went wrong on our side"
        answer = response(kind, request.url.path)
        answer.headers["X-Trace-Id"] = structlog.contextvars.get_contextvars()["trace_id"]
        return answer

    app.add_exception_handler(Refusal, refusal)
    app.add_exception_handler(RequestValidationError, wrong)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(StorageUnavailable, storage)
    app.add_exception_handler(UnknownSchema, schema)
    app.add_exception_handler(Exception, unexpected)


def invalid(error: RequestValidationError) -> Refusal:
    """The refusal of a request that does not fit its model."""
    found = error.errors()
    if any(problem["type"] == "json_invalid" for problem in found):
        return _malformed()
    if isinstance(error.body, bytes):
        return Invalid("The body was not taken for JSON: send the header `Content-Type: application/json` with it.")
    # a list whose items are all wrong is not also too short
    found = [problem for problem in found if not (problem["type"] == "too_short" and _has_wrong_items(problem, found))]
    wrong = [{"pointer": _pointer(problem["loc"]), "detail": problem["msg"]} for problem in found]
    if all(problem["loc"][-1] == "bytes" and problem["type"] == "less_than_equal" for problem in found):
        return TooLarge(
            f"{wrong[0]['pointer']}: a file may have at most {found[0]['ctx']['le']} bytes; split it into several.", errors=wrong
        )
    return Invalid(f"{wrong[0]['pointer'] or 'The body'}: {wrong[0]['detail']}.", errors=wrong)


def _has_wrong_items(problem: Any, found: Sequence[Any]) -> bool:
    place = problem["loc"]
    return any(len(other["loc"]) > len(place) and other["loc"][: len(place)] == place for other in found)


def _malformed() -> Refusal:
    return Malformed("The body is not JSON in UTF-8, or nests too deep.")


def _pointer(location: tuple[int | str, ...]) -> str:
    place, *rest = location
    parts = [part for part in (rest if place == "body" else [place, *rest]) if part != "[key]"]
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in parts)
