"""`/v1/quota`: what the tenant may use, and uses."""

from fastapi import APIRouter

from contracts.http import Quota
from control_plane import quotas
from control_plane.api.auth import Reader
from control_plane.api.problems import documented
from control_plane.api.routes import Route
from control_plane.api.services import Injected
from control_plane.errors import RateLimited, Unauthenticated, Unavailable

router = APIRouter(prefix="/v1/quota", tags=["service"], route_class=Route)


@router.get("", operation_id="get_quota", responses=documented(Unauthenticated, Unavailable, RateLimited))
async def get(services: Injected, caller: Reader) -> Quota:
    """The tenant's limits, and what it uses of each right now."""
    async with services.database.tenant(caller.tenant) as connection:
        return await quotas.read(connection, caller.tenant)
