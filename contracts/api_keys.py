"""Roles, and the bodies of the requests that manage API keys."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field, StringConstraints

from contracts.model import Contract, Tolerant

Role = Literal["viewer", "operator", "admin"]
"""What a credential may do; each role may do all that the one before it may."""

_TEN_YEARS = 10 * 366 * 86_400
KeyName = Annotated[
    str, StringConstraints(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$"), Field(examples=["nightly loader"])
]
Life = Annotated[int, Field(strict=True, ge=60, le=_TEN_YEARS, description="Seconds until the key expires.")]
Grace = Annotated[int, Field(strict=True, ge=0, le=30 * 86_400, description="Seconds for which the old key stays good.")]
DEFAULT_GRACE_SECONDS = 86_400


class KeyRequest(Contract):
    """A key to be made."""

    name: KeyName = Field(description="Your words for who uses it.")
    role: Role
    expires_in_seconds: Life | None = Field(default=None, description="Never, if left out.")


class KeyRotation(Contract):
    """How a key is replaced."""

    grace_seconds: Grace = DEFAULT_GRACE_SECONDS
    expires_in_seconds: Life | None = Field(default=None, description="As long as the old key was made for, if left out.")


class ApiKey(Tolerant):
    """A key of the tenant, without the key itself."""

    id: UUID
    name: str
    role: Role
    prefix: str = Field(description="How the key begins; enough to recognise it.", examples=["stratum_x7Kq02Lm"])
    state: Literal["active", "expired", "revoked"]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None = Field(description="To about a minute.")
    revoked_at: datetime | None


class IssuedKey(ApiKey):
    """A new key. `key` is shown here and never again."""

    key: str = Field(repr=False, description="Send it as `Authorization: Bearer <key>`.")


class KeyPage(Tolerant):
    """Newest first."""

    items: list[ApiKey]
    next_cursor: str | None
