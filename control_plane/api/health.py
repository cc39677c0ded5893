"""Liveness, readiness, metrics, public keys and database time."""

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from contracts.http import DatabaseTime, Health
from control_plane.api.problems import documented
from control_plane.api.routes import Route
from control_plane.api.services import Injected
from control_plane.database import queries
from control_plane.errors import ControlPlaneError, Unavailable

router = APIRouter(tags=["service"], route_class=Route)


@router.get("/healthz", operation_id="liveness")
async def healthz() -> Health:
    """The service runs. Says nothing of its dependencies."""
    return Health(status="ok")


@router.get("/readyz", operation_id="readiness", response_model=Health, responses={503: {"model": Health, "description": "Not ready."}})
async def readyz(services: Injected) -> Response:
    """Whether requests can be served; names each dependency."""
    checks: dict[str, str] = {}
    try:
        await services.looks.database()
        checks["postgres"] = "ok"
    except ControlPlaneError as error:
        checks["postgres"] = str(error)
    try:
        await services.looks.storage()
        checks["s3"] = "ok"
    except (ControlPlaneError, TimeoutError) as error:
        checks["s3"] = str(error) or "the object store does not answer in time"
    # without the object store requests are still accepted: their runs wait for it
    ready = checks["postgres"] == "ok" and not services.drain.has_begun
    if services.drain.has_begun:
        checks["service"] = "it ends soon and takes no new work"
    health = Health(status="ok" if ready else "unavailable", checks=checks)
    return JSONResponse(health.model_dump(), 200 if ready else 503)


@router.get("/metrics", operation_id="metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def prometheus(services: Injected) -> Response:
    """Metrics in the Prometheus text format. They name no tenant: anyone may read them."""
    await services.looks.gauges()
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


@router.get("/.well-known/jwks.json", operation_id="public_keys")
async def jwks(services: Injected) -> dict[str, list[dict[str, str]]]:
    """The public keys (JWKS, RFC 7517) that verify our tokens."""
    return services.keys.jwks()


@router.get("/v1/time", operation_id="database_time", responses=documented(Unavailable))
async def time(services: Injected) -> DatabaseTime:
    """Database time: the one clock that decisions are taken on."""
    async with services.database.connection() as connection:
        return DatabaseTime(now=await queries.database_time(connection))
