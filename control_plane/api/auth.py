"""Who is asking, and whether they may: tenant and role come only from the credential, what a role may do only from `permissions`."""

from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from control_plane.api import rate_limits
from control_plane.api.authentication import Caller, check_run_token
from control_plane.api.oidc import no_role
from control_plane.api.permissions import TABLE, may
from control_plane.api.services import Services
from control_plane.errors import Forbidden, Unauthenticated

_bearer = HTTPBearer(auto_error=False, description="An API key, or a token of the identity provider if one is configured.")
_Documented = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
"""Says in the OpenAPI document that a credential is needed; it has been judged by then."""


async def judge(request: Request, operation: str) -> None:
    """Whether its sender may do the operation. Looks at the head of the request alone; the dependencies below hand on what it finds.

    Raises:
        Unauthenticated: there is no credential, or not a good one.
        RateLimited: its tenant sends too many requests, those that it may not send among them.
        Forbidden: its role is not enough.
        Unavailable: it cannot be judged now.
    """
    access = TABLE.get(operation)
    if access == "anyone":
        return
    services: Services = request.app.state.services
    credentials = await _bearer(request)
    if credentials is None:
        raise Unauthenticated("Send the API key as `Authorization: Bearer <key>`.")
    if access == "run":
        check_run_token(services.keys, credentials.credentials)
        request.state.run_token = credentials.credentials
        return
    caller = await services.authenticator.caller(credentials.credentials)
    rate_limits.by_tenant(request, caller.tenant)
    if caller.role is None:
        raise no_role(services.settings)
    if not may(caller.role, operation):
        article = "A" if caller.role == "viewer" else "An"
        raise Forbidden(f"{article} {caller.role} may not do this; it needs the role {access}.")
    request.state.caller = caller


async def _judged_caller(request: Request, _: _Documented) -> Caller:
    caller: Caller = request.state.caller
    return caller


async def _judged_token(request: Request, _: _Documented) -> str:
    token: str = request.state.run_token
    return token


Authorized = Annotated[Caller, Depends(_judged_caller)]
"""Whoever the table lets do the operation."""
# names that tell the reader of a handler what to expect; the table decides
Reader = Authorized
Writer = Authorized
Admin = Authorized
RunToken = Annotated[str, Depends(_judged_token)]
"""A token that we signed, for whatever it is good."""
