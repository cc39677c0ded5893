"""From a credential to a caller: an API key, or a token of the identity provider."""

import ssl
from dataclasses import dataclass

import certifi
import httpx

from contracts.api_keys import Role
from contracts.errors import TokenError
from contracts.signing_keys import Signer
from control_plane.api.last_use import NOTE_SECONDS, LastUse
from control_plane.api.oidc import OidcTokens, looks_like_token, unknown_tenant
from control_plane.api_keys import key_hash
from control_plane.database import Database, queries
from control_plane.errors import Unauthenticated
from control_plane.settings import ApiSettings


@dataclass(frozen=True, slots=True)
class Caller:
    """The tenant and role of a credential; None: it is good, and gives no role. `name`: what the log calls its holder; no secret."""

    tenant: str
    role: Role | None
    name: str


class Authenticator:
    """Knows credentials. Touches no server before it is asked."""

    def __init__(self, settings: ApiSettings, database: Database) -> None:
        self._database = database
        self._last_use = LastUse(database)
        self._oidc = OidcTokens(settings, _client(settings)) if settings.has_oidc else None

    async def caller(self, credential: str) -> Caller:
        """Whose credential it is.

        Raises:
            Unauthenticated: nobody's, or no more.
            Unavailable: it cannot be judged now.
        """
        if self._oidc is not None and looks_like_token(credential):
            return await self._of_token(self._oidc, credential)
        return await self._of_key(credential)

    async def close(self) -> None:
        """Finish what goes on in the background."""
        await self._last_use.close()
        if self._oidc is not None:
            await self._oidc.close()

    async def _of_key(self, key: str) -> Caller:
        async with self._database.connection() as connection:
            row = await queries.find_key(connection, key_hash=key_hash(key), note_seconds=NOTE_SECONDS)
        if row is None:
            raise Unauthenticated("The API key is unknown, expired or revoked.")
        if not row["used_lately"]:
            self._last_use.note(row["id"])
        return Caller(row["tenant"], row["role"], f"key {row['id']}")

    async def _of_token(self, oidc: OidcTokens, token: str) -> Caller:
        identity = await oidc.identity(token)
        async with self._database.connection() as connection:
            exists = await queries.tenant_exists(connection, tenant=identity.tenant)
        if not exists:
            raise unknown_tenant()
        return Caller(identity.tenant, identity.role, f"subject {identity.subject}")


def check_run_token(keys: Signer, token: str) -> None:
    """Whether we signed it, for a start or for a run, and whatever its time. Raises `Unauthenticated`."""
    reasons = []
    for audience in ("stratum:start", "stratum:run"):
        try:
            keys.verify(token, audience, now=None)
        except TokenError as error:
            reasons.append(str(error))
        else:
            return
    raise Unauthenticated(f"{reasons[-1].capitalize()}.")


def _client(settings: ApiSettings) -> httpx.AsyncClient:
    trusted = ssl.create_default_context(cafile=certifi.where())
    if settings.ca_bundle is not None:
        trusted.load_verify_locations(settings.ca_bundle)
    return httpx.AsyncClient(verify=trusted, timeout=60)  # for one step; a whole fetch has its own, shorter limit
