"""The composition root of the `api` role."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from typing import Any

import structlog
from fastapi import FastAPI

from contracts.http import Problem
from contracts.live_catalog import LiveCatalog
from contracts.signing_keys import LiveKeyRing
from control_plane import signing_keys
from control_plane.api import (
    callbacks,
    dataset_document,
    datasets,
    health,
    keys,
    limits,
    permissions,
    problems,
    processes,
    quota,
    rate_limits,
    retirements,
    uploads,
    webhooks,
)
from control_plane.api.authentication import Authenticator
from control_plane.api.looks import Looks
from control_plane.api.observed import Observed
from control_plane.api.presigning import Presigner
from control_plane.api.routes import Route
from control_plane.api.services import Services
from control_plane.database import Database
from control_plane.errors import Busy, Forbidden, HeadersTooLarge, Malformed, RateLimited, TooLarge, TooSlow, Unauthenticated, UriTooLong
from control_plane.footer_readers import FooterReaders
from control_plane.judging import Judge
from control_plane.settings import ApiSettings
from control_plane.storage import Storage
from control_plane.upload_seal import UploadSeals

log = structlog.get_logger()
_ANY = (UriTooLong, HeadersTooLarge, TooSlow, TooLarge, Malformed, Busy)
"""Any operation may be refused so: by the limits, before it begins."""
_OF_ROLES = (Unauthenticated, Forbidden, RateLimited)
"""Any operation for roles: also a reader's, whose token gives no role."""


def create_app(settings: ApiSettings) -> FastAPI:
    """The API with all its parts. Raises for a wrong key or catalog; touches no server yet."""
    database = Database(settings)
    storage = Storage(settings)
    readers = FooterReaders()
    services = Services(
        settings=settings,
        database=database,
        storage=storage,
        presigner=Presigner(storage),
        looks=Looks(database, storage),
        readers=readers,
        seals=UploadSeals(database, storage, readers),
        judge=Judge(),
        reports=callbacks.turns(settings.database_pool_size),
        large_answers=dataset_document.turns(),
        keys=LiveKeyRing(settings.signing_key_file, signing_keys.report),
        catalog=LiveCatalog(
            settings.catalog_dir,
            lambda error: log.error("the new catalog is wrong; the last one stays", error=str(error)),
            default_image=settings.jobs_image,
        ),
        authenticator=Authenticator(settings, database),
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as parts:  # each is closed, also when another cannot be
            parts.callback(services.readers.close)
            parts.callback(services.presigner.close)
            parts.callback(services.judge.close)
            parts.push_async_callback(services.database.close)
            parts.push_async_callback(services.authenticator.close)
            yield

    app = FastAPI(
        title="Stratum",
        version=version("stratum"),
        summary="Trigger an action on an entity's data version; get back sealed, reproducible Parquet.",
        lifespan=lifespan,
        redirect_slashes=False,  # a redirect without a body is no answer that a program understands
    )
    app.state.services = services
    # the callback's fixed path comes before the paths with a process id
    routers = [part.router for part in (callbacks, processes, uploads, datasets, retirements, quota, keys, webhooks, health)]
    for router in routers:
        app.include_router(router)
    # a route of another kind would judge nobody
    routes = [route for router in routers for route in router.routes if isinstance(route, Route)]
    permissions.check_complete(str(route.operation_id) for route in routes)
    problems.install(app)
    limits.install(app, settings)
    rates = (settings.tenant_requests_per_second, settings.anonymous_requests_per_second, settings.request_burst_seconds)
    judged = rate_limits.JudgedPaths(
        (method, route.path) for route in routes if permissions.TABLE[str(route.operation_id)] != "anyone" for method in route.methods or ()
    )
    rate_limits.install(app, rate_limits.RateLimits.of(*rates), judged)
    app.add_middleware(Observed)
    _extend_document(app)
    return app


def _extend_document(app: FastAPI) -> None:
    """Add to the OpenAPI document the `Problem` schema, which no route returns as its model, and who may call each operation."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        document.setdefault("components", {}).setdefault("schemas", {})["Problem"] = schema
        for methods in document["paths"].values():
            for operation in methods.values():
                access = permissions.TABLE[operation["operationId"]]
                operation["x-stratum-access"] = access
                for status, answer in problems.documented(*(_ANY if access in ("anyone", "run") else (*_ANY, *_OF_ROLES))).items():
                    operation["responses"].setdefault(str(status), answer)
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI documents this as the way to extend the document
