"""Identifiers and the names derived from them."""

from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, Field, StringConstraints
from uuid_utils.compat import uuid7

from contracts.model import WrittenAs

IDENTIFIER_PATTERN = r"^[A-Za-z0-9](\.?[A-Za-z0-9_-])*\.?$"
"""`^[A-Za-z0-9][A-Za-z0-9._-]*$` without `..` inside, written without look-ahead so that every JSON Schema engine reads it."""

Identifier = Annotated[
    str,
    StringConstraints(pattern=IDENTIFIER_PATTERN, min_length=1, max_length=128),
    Field(description="Letters, digits, '.', '_', '-'; starts with a letter or digit; no '..'; at most 128 characters."),
]
TENANT_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$"
Tenant = Annotated[str, StringConstraints(pattern=TENANT_PATTERN), Field(description="A DNS label of at most 40 characters.")]


def _is_uuid7(value: UUID) -> UUID:
    if value.version != 7:
        raise ValueError("must be a UUID of version 7")
    return value


UUID7_PATTERN = "^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"
ProcessId = Annotated[UUID, AfterValidator(_is_uuid7), WrittenAs(UUID7_PATTERN), Field(description="A UUID of version 7.")]


def new_id() -> UUID:
    """A UUIDv7: unique, and sorted by the time of its making."""
    return uuid7()


def job_name(process_id: UUID, step: int, attempt: int) -> str:
    """The one Job of an attempt: deterministic, so a second submission meets the first. A DNS label of at most 63 characters."""
    return f"stratum-{process_id.hex}-{step}-{attempt}"
