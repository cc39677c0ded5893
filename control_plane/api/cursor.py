"""Opaque page cursors."""

import base64
import binascii
from uuid import UUID

from control_plane.errors import Invalid


def encode(position: str) -> str:
    """The cursor that continues after `position`."""
    return base64.urlsafe_b64encode(position.encode()).decode().rstrip("=")


def decode(cursor: str) -> str:
    """The position of a cursor; raises `Invalid` for what `encode` never made."""
    try:
        position = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
        if not position.isprintable():
            raise ValueError("not a name")
        return position
    except (binascii.Error, UnicodeDecodeError, ValueError) as error:
        raise Invalid(
            "The cursor is not one of ours: take it unchanged from `next_cursor`, or leave it out.",
            errors=[{"pointer": "/query/cursor", "detail": "not a cursor"}],
        ) from error


def decode_id(cursor: str | None) -> UUID | None:
    """The id of a cursor made of one; None for none."""
    if cursor is None:
        return None
    try:
        return UUID(decode(cursor))
    except ValueError as error:
        raise Invalid("The cursor is not one of ours: take it unchanged from `next_cursor`, or leave it out.") from error


def decode_number(cursor: str | None) -> int:
    """The number of a cursor made of one; 0 for none."""
    position = "0" if cursor is None else decode(cursor)
    if len(position) > 9 or not (position.isascii() and position.isdigit()):
        raise Invalid("The cursor is not one of ours: take it unchanged from `next_cursor`, or leave it out.")
    return int(position)
