"""Errors of the contracts package: one small tree under `ContractError`."""


class ContractError(Exception):
    """Something breaks one of the contracts."""


class Unreadable(ContractError):
    """A document or a message is none of its kind, or is more than anybody reads. The message names fields, never what is in them."""


class CatalogError(ContractError):
    """A catalog file is missing, unreadable or wrong. The message names the file and the field."""


class TokenError(ContractError):
    """A flow or run token is not signed by a known key, is expired, or was made for something else."""


class UnknownKey(TokenError):
    """The token names a key that is not among those at hand; it may be newer than they are."""


class SigningKeyError(ContractError):
    """A signing key cannot be read, or is not an Ed25519 key."""


class ImageRefused(ContractError):
    """A tenant's run may not use this image."""


class SqlRefused(ContractError):
    """A `sql` query lies outside what is allowed: one SELECT over the declared views.

    `reason` says what to change; `position` is the (line, column) of the offending word, counted from 1, when known.
    """

    def __init__(self, reason: str, position: tuple[int, int] | None = None) -> None:
        self.reason = reason
        self.position = position
        where = f" (line {position[0]}, column {position[1]})" if position else ""
        super().__init__(f"{reason}{where}")
