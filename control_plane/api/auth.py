"""Who is asking, and whether they may: tenant and role come only from the credential, what a role may do only from `permissions`."""

from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from control_plane.api.authentication import Caller
from control_plane.api.permissions import TABLE, may
from control_plane.api.services import Injected
from control_plane.errors import Forbidden, Unauthenticated

_bearer = HTTPBearer(auto_error=False, description="An API key, or a token of the identity provider if one is configured.")
BearerToken = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


def bearer(credentials: HTTPAuthorizationCredentials | None) -> str:
    """The bearer token; raises `Unauthenticated` when there is none."""
    if credentials is None:
        raise Unauthenticated("Send the API key as `Authorization: Bearer <key>`.")
    return credentials.credentials


async def _authorized(request: Request, services: Injected, credentials: BearerToken) -> Caller:
    caller = await services.authenticator.caller(bearer(credentials))
    operation = request.scope["route"].operation_id
    if not may(caller.role, operation):
        article = "A" if caller.role == "viewer" else "An"
        raise Forbidden(f"{article} {caller.role} may not do this; it needs the role {TABLE.get(operation)}.")
    return caller


Authorized = Annotated[Caller, Depends(_authorized)]
"""Whoever the table lets do the operation."""
# names that tell the reader of a handler what to expect; the table decides
Reader = Authorized
Writer = Authorized
Admin = Authorized
