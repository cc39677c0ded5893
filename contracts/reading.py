"""From bytes that a stranger may have written to a document or a message. What that costs is bounded before anything is parsed."""

import re
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import from_json

from contracts.errors import Unreadable
from contracts.topics import MAX_MESSAGE_BYTES

M = TypeVar("M", bound=BaseModel)
_MOST_PROBLEMS = 5
_LONGEST_PROBLEM = 200
_BEYOND_TWO_BYTES = re.compile(rb"[\xf0-\xf7]")


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is read at most.

    Attributes:
        most_bytes: of memory that the body's text may take. Of ASCII that is its length; Python gives each character of another text
            as much as the widest one takes, two bytes or four.
        most_values: commas, colons and opening brackets, which are at least as many as the values that are made of the body.
    """

    most_bytes: int
    most_values: int


DOCUMENT = Bounds(64 * 1024 * 1024, 2_000_000)
"""Of a proposal or a manifest: twice 100,000 files, as one run may propose of its two datasets, and all their columns."""
MESSAGE = Bounds(MAX_MESSAGE_BYTES, 500_000)
"""Of a message: a list of fifty thousand jobs; any parameters that were accepted."""


def read(kind: type[M] | TypeAdapter[M], body: bytes, bounds: Bounds) -> M:
    """What `body` says.

    It becomes plain Python first: an error of pydantic's JSON reader holds a copy of all that was around what is wrong, each its own.

    Raises:
        Unreadable: it is none of that kind, or more than `bounds`. The reason names fields, never values: one may be a token.
    """
    check_bounds(body, bounds)
    try:
        document = from_json(body)
    except ValueError as error:
        raise Unreadable(f"no JSON: {error}") from error
    try:
        return kind.validate_python(document) if isinstance(kind, TypeAdapter) else kind.model_validate(document)
    except ValidationError as error:
        raise Unreadable(_words(error)) from None  # the error holds all of the document


def check_bounds(body: bytes, bounds: Bounds) -> None:
    """Raise `Unreadable` for a body that `read` would not look into."""
    text = len(body) * _widest(body)
    if text > bounds.most_bytes:
        raise Unreadable(f"it has {len(body)} bytes, {text} as text; at most {bounds.most_bytes} are read")
    found = values(body)
    if found > bounds.most_values:
        raise Unreadable(f"it has about {found} values; at most {bounds.most_values} are read")


def values(body: bytes) -> int:
    """No fewer than the values and names of fields in it, found without parsing it."""
    return sum(map(body.count, (b",", b":", b"[", b"{")))


def _widest(body: bytes) -> int:
    """Bytes that a character of it may take once it is text."""
    is_escaped = b"\\u" in body
    if body.isascii() and not is_escaped:
        return 1
    return 4 if is_escaped or _BEYOND_TWO_BYTES.search(body) else 2


def _words(error: ValidationError) -> str:
    """The first few problems."""
    problems = error.errors(include_input=False, include_url=False, include_context=False)[:_MOST_PROBLEMS]
    return "; ".join(f"{'.'.join(map(str, each['loc'])) or 'all of it'}: {each['msg']}"[:_LONGEST_PROBLEM] for each in problems)
