"""The composition root of the `api` role."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.routing import APIRoute

from contracts.http import Problem
from contracts.identifiers import new_id
from contracts.live_catalog import LiveCatalog
from contracts.tokens import KeyRing
from control_plane import metrics
from control_plane.api import callbacks, datasets, health, problems, processes, retirements, uploads
from control_plane.api.services import Services
from control_plane.database import Database
from control_plane.settings import ApiSettings
from control_plane.storage import Storage

log = structlog.get_logger()


def create_app(settings: ApiSettings) -> FastAPI:
    """The API with all its parts. Raises for a wrong key or catalog; touches no server yet."""
    services = Services(
        settings=settings,
        database=Database(settings),
        storage=Storage(settings),
        keys=KeyRing.load(settings.signing_key_file),
        catalog=LiveCatalog(
            settings.catalog_dir,
            lambda error: log.error("the new catalog is wrong; the last one stays", error=str(error)),
            default_image=settings.jobs_image,
        ),
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await services.database.close()

    app = FastAPI(
        title="Stratum",
        version=version("stratum"),
        summary="Trigger an action on an entity's data version; get back sealed, reproducible Parquet.",
        lifespan=lifespan,
    )
    app.state.services = services
    # the callback's fixed path comes before the paths with a process id
    for router in (callbacks.router, processes.router, uploads.router, datasets.router, retirements.router, health.router):
        app.include_router(router)
    problems.install(app)
    app.add_middleware(problems.BodyLimit, limit=settings.max_body_bytes)
    app.middleware("http")(_observed)
    _document_problems(app)
    return app


async def _observed(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """Bind the trace id to every log line of the request, answer with it, and take the time."""
    traceparent = request.headers.get("traceparent", "")
    parts = traceparent.split("-")
    trace_id = parts[1] if len(parts) == 4 and len(parts[1]) == 32 else new_id().hex
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(trace_id=trace_id)
    begin = time.perf_counter()
    response = await call_next(request)
    seconds = time.perf_counter() - begin
    route = request.scope.get("route")
    path = route.path if isinstance(route, APIRoute) else "unknown"
    metrics.REQUESTS.labels(request.method, path, str(response.status_code)).observe(seconds)
    response.headers["X-Trace-Id"] = trace_id
    if not path.startswith(("/healthz", "/readyz", "/metrics")):
        log.info("request", method=request.method, path=request.url.path, status=response.status_code, seconds=round(seconds, 4))
    return response


def _document_problems(app: FastAPI) -> None:
    """Put the `Problem` schema, which no route returns as its model, into the OpenAPI document."""
    generate = app.openapi

    def openapi() -> dict[str, object]:
        document = generate()
        schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        document.setdefault("components", {}).setdefault("schemas", {})["Problem"] = schema
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI documents this as the way to extend the document
