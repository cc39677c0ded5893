"""What every kind of store that knows users is asked: keys for a tenant, and their end."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

Policy = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StorageKeys:
    """Credentials of the object store."""

    access_key: str
    secret_key: str = field(repr=False)


Keep = Callable[[StorageKeys], None]
"""Writes the keys where runs find them."""


class StorageUsers(Protocol):
    """A store that has users with policies."""

    def ensure(self, user: str, policy: Policy, kept: StorageKeys | None, keep: Keep) -> bool:
        """Bring the user to exactly this policy and one pair of keys: those that are `kept`, else new ones, which go to `keep`.

        Safe to repeat after a crash at any point: never are there keys that nobody keeps. Says whether anything was changed.
        """
        ...

    def remove(self, user: str) -> bool:
        """End the user with its keys and its policy. Says whether it was there."""
        ...
