"""From the bytes of a message to what it says."""

from datetime import UTC, datetime
from typing import TypedDict, TypeVar
from uuid import UUID

from pydantic import ValidationError

from contracts.command import AttemptRef, CancelCommand, Command
from contracts.identifiers import new_id
from launcher.errors import MessageRejected

M = TypeVar("M", Command, CancelCommand)


def read(kind: type[M], value: bytes) -> M:
    """The message in `value`.

    Raises:
        MessageRejected: it is none of that kind. The reason names the fields, never their values: one is a token.
    """
    try:
        return kind.model_validate_json(value)
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False, include_context=False)
        first = "; ".join(f"{'.'.join(map(str, each['loc'])) or 'message'}: {each['msg']}" for each in problems[:5])
        raise MessageRejected(f"unreadable: {first}") from error


class Stamp(TypedDict):
    """What every event carries."""

    event_id: UUID
    at: datetime
    cluster: str


class AttemptStamp(Stamp):
    """What every event of an attempt carries."""

    tenant: str
    process_id: UUID
    step: int
    attempt: int


def stamp(cluster: str) -> Stamp:
    """The fields that make an event this one."""
    return Stamp(event_id=new_id(), at=datetime.now(UTC), cluster=cluster)


def attempt_stamp(cluster: str, ref: AttemptRef) -> AttemptStamp:
    """The same for an event about an attempt."""
    return AttemptStamp(**stamp(cluster), tenant=ref.tenant, process_id=ref.process_id, step=ref.step, attempt=ref.attempt)
