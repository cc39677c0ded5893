"""`…/datasets/{dataset}/retire`: an admin takes a dataset out of use, for good."""

from datetime import timedelta

from fastapi import APIRouter

from contracts.http import Retirement, RetireRequest
from contracts.identifiers import Identifier
from control_plane.api.auth import Admin
from control_plane.api.problems import documented
from control_plane.api.routes import Route
from control_plane.api.services import Injected
from control_plane.errors import (
    Conflict,
    Forbidden,
    Invalid,
    Malformed,
    Missing,
    NotFound,
    RateLimited,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from control_plane.missing import with_suggestions
from control_plane.retirement.retire import Name, retire

router = APIRouter(prefix="/v1", tags=["data"], route_class=Route)


@router.post(
    "/entities/{entity_id}/versions/{data_version}/datasets/{dataset}/retire",
    operation_id="retire_dataset",
    responses=documented(Unauthenticated, Forbidden, Invalid, RateLimited, Unavailable, NotFound, Conflict, Malformed, TooLarge),
)
async def retire_dataset(
    entity_id: Identifier, data_version: Identifier, dataset: Identifier, body: RetireRequest, services: Injected, caller: Admin
) -> Retirement:
    """Retire a dataset: it can no longer be read, its files are removed after a grace, its name stays taken. Safe to repeat.

    Refused while active processes read it. With `dry_run` nothing changes, and the answer says what depends on it.
    """
    name = Name(caller.tenant, entity_id, data_version, dataset)
    grace = timedelta(seconds=services.settings.retire_grace_seconds)
    async with with_suggestions(services.database, caller.tenant):
        done = await retire(services.database, services.storage, name, caller.name, body.reason, grace, dry_run=body.dry_run)
        if done is None:
            raise Missing(entity_id, data_version, dataset)
        return done
