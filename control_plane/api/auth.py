"""Who is asking: tenant and role come only from the credential."""

import hashlib
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from control_plane.api.services import Injected
from control_plane.database import queries
from control_plane.errors import Forbidden, Unauthenticated

_bearer = HTTPBearer(auto_error=False, description="An API key.")
BearerToken = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


@dataclass(frozen=True, slots=True)
class Caller:
    """The tenant and role of a credential, and how an audit names it."""

    tenant: str
    role: str
    name: str


def key_hash(key: str) -> bytes:
    """What is stored of an API key. Keys are long and random, so a plain hash is enough."""
    return hashlib.sha256(key.encode()).digest()


def bearer(credentials: HTTPAuthorizationCredentials | None) -> str:
    """The bearer token; raises `Unauthenticated` when there is none."""
    if credentials is None:
        raise Unauthenticated("Send the API key as `Authorization: Bearer <key>`.")
    return credentials.credentials


async def _caller(services: Injected, credentials: BearerToken) -> Caller:
    key = bearer(credentials)
    async with services.database.connection() as connection:
        row = await queries.find_key(connection, key_hash=key_hash(key))
    if row is None:
        raise Unauthenticated("The API key is unknown, expired or revoked.")
    return Caller(row["tenant"], row["role"], f"the {row['role']} key {row['key_prefix']}…")


Reader = Annotated[Caller, Depends(_caller)]
"""Anyone with a valid credential."""


async def _writer(caller: Reader) -> Caller:
    if caller.role == "viewer":
        raise Forbidden("A viewer may only read; this needs the role operator or admin.")
    return caller


Writer = Annotated[Caller, Depends(_writer)]
"""Operators and admins."""


async def _admin(caller: Reader) -> Caller:
    if caller.role != "admin":
        raise Forbidden("This is for good and can be undone by nobody: it needs the role admin.")
    return caller


Admin = Annotated[Caller, Depends(_admin)]
"""Admins."""
