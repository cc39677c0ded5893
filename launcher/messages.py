"""From the bytes of a message to what it says."""

from datetime import UTC, datetime
from typing import TypedDict, TypeVar
from uuid import UUID

from contracts import reading
from contracts.command import AttemptRef, CancelCommand, Command
from contracts.errors import Unreadable
from contracts.identifiers import new_id
from launcher.errors import MessageRejected

M = TypeVar("M", Command, CancelCommand)


def read(kind: type[M], value: bytes) -> M:
    """The message in `value`.

    Raises:
        MessageRejected: it is none of that kind. The reason names the fields, never their values: one is a token.
    """
    try:
        return reading.read(kind, value, reading.MESSAGE)
    except Unreadable as error:
        raise MessageRejected(f"unreadable: {error}") from error


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
