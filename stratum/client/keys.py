"""The calls that manage API keys; an admin's alone."""

from typing import TypeVar
from uuid import UUID

from pydantic import BaseModel, ValidationError

from contracts.api_keys import DEFAULT_GRACE_SECONDS, ApiKey, IssuedKey, KeyPage, KeyRequest, KeyRotation, Role
from stratum.client.transport import Transport
from stratum.errors import Invalid

T = TypeVar("T", bound=BaseModel)


class KeyCalls:
    """What `AsyncClient` can do with keys."""

    _transport: Transport

    async def api_keys(self) -> list[ApiKey]:
        """All keys of the tenant, newest first, those that are over too."""
        items: list[ApiKey] = []
        cursor = None
        while True:
            page = await self._transport.get(KeyPage, "/v1/keys", {"limit": 200, "cursor": cursor})
            items += page.items
            if (cursor := page.next_cursor) is None:
                return items

    async def create_key(self, name: str, role: Role, *, expires_in_seconds: int | None = None) -> IssuedKey:
        """Make a key. Keep its `key`: nobody is told it again."""
        body = _checked(KeyRequest, name=name, role=role, expires_in_seconds=expires_in_seconds)
        return await self._transport.post(IssuedKey, "/v1/keys", body, repeatable=False)

    async def rotate_key(
        self, key_id: UUID | str, *, grace_seconds: int = DEFAULT_GRACE_SECONDS, expires_in_seconds: int | None = None
    ) -> IssuedKey:
        """Make a key of the same name and role; the old one is good for `grace_seconds` more.

        Raises:
            Conflict: the old key is over.
        """
        body = _checked(KeyRotation, grace_seconds=grace_seconds, expires_in_seconds=expires_in_seconds)
        return await self._transport.post(IssuedKey, f"/v1/keys/{_id(key_id)}/rotate", body, repeatable=False)

    async def revoke_key(self, key_id: UUID | str) -> ApiKey:
        """End a key at once.

        Raises:
            Conflict: it is the last admin key that is good.
        """
        return await self._transport.post(ApiKey, f"/v1/keys/{_id(key_id)}/revoke", repeatable=True)


def _id(key_id: UUID | str) -> UUID:
    try:
        return UUID(str(key_id))
    except ValueError as error:
        raise Invalid("That is not the id of a key.", "`stratum keys list` shows the ids; the key itself is not needed.") from error


def _checked(model: type[T], **given: object) -> T:
    try:
        return model.model_validate({name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise Invalid(f"The request is not valid: {problems}.") from error
