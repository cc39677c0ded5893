"""Tokens of an identity provider: whether one is good, and for which tenant and role."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import jwt

from contracts.api_keys import Role
from contracts.identifiers import TENANT_PATTERN
from control_plane.api.oidc_keys import Jwk, ProviderKeys
from control_plane.api.permissions import highest
from control_plane.errors import Forbidden, Unauthenticated
from control_plane.oidc_settings import OidcSettings

_PART = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Identity:
    """What a good token says; role None: it gives none. Whether the tenant exists is not looked at."""

    tenant: str
    role: Role | None
    subject: str


def looks_like_token(credential: str) -> bool:
    """Whether a credential has the form of a JWT: a header and claims, then a signature or nothing."""
    parts = credential.split(".")
    return len(parts) == 3 and bool(_PART.fullmatch(parts[0]) and _PART.fullmatch(parts[1]))


class OidcTokens:
    """Judges the tokens of one provider."""

    def __init__(self, settings: OidcSettings, client: httpx.AsyncClient) -> None:
        self._settings = settings
        self._client = client
        self._keys = ProviderKeys(settings, client)

    async def identity(self, token: str) -> Identity:
        """Whom the token is of.

        Raises:
            Unauthenticated: the token is not good; the message says why and never holds it.
            Unavailable: the provider's keys are not known now.
        """
        claims = await self._claims(token)
        tenant = _claim(claims, self._settings.oidc_tenant_claim)
        if not isinstance(tenant, str):
            raise Unauthenticated(f"The token names no tenant: it has no text in the claim {self._settings.oidc_tenant_claim!r}.")
        if not re.fullmatch(TENANT_PATTERN.strip("^$"), tenant):
            raise unknown_tenant()
        return Identity(tenant, self._role(claims), str(claims.get("sub", "")))

    async def close(self) -> None:
        """Close the connections to the provider."""
        await self._keys.close()
        await self._client.aclose()

    async def _claims(self, token: str) -> dict[str, Any]:
        try:
            header = jwt.get_unverified_header(token)
            algorithm, kid = header.get("alg"), header.get("kid")
            if algorithm not in self._settings.oidc_algorithms:
                raise Unauthenticated(f"The token must be signed with {' or '.join(self._settings.oidc_algorithms)}.")
            # whoever sends tokens of others shall not make us ask the provider for keys
            if jwt.decode(token, options={"verify_signature": False}).get("iss") != self._settings.oidc_issuer:
                raise Unauthenticated(_bad("it is of another issuer"))
            if not isinstance(kid, str):
                raise Unauthenticated(_bad("its header names no key (`kid`)"))
            return self._verified(token, await self._keys.get(kid), algorithm)
        except (jwt.PyJWTError, TypeError, ValueError, RecursionError) as error:
            raise Unauthenticated(_bad(_reason(error))) from error

    def _verified(self, token: str, jwk: Jwk, algorithm: str) -> dict[str, Any]:
        if jwk.get("alg", algorithm) != algorithm:
            raise jwt.InvalidAlgorithmError(algorithm)
        return jwt.decode(
            token,
            jwt.PyJWK(dict(jwk), algorithm),  # refuses a key of another kind than the algorithm's
            algorithms=[algorithm],
            audience=self._settings.oidc_audience,
            issuer=self._settings.oidc_issuer,
            leeway=self._settings.oidc_leeway_seconds,
            options={"require": ["exp", "iss", "aud"], "enforce_minimum_key_length": True},
        )

    def _role(self, claims: Mapping[str, Any]) -> Role | None:
        name = self._settings.oidc_roles_claim
        value = _claim(claims, name)
        values = value.split() if isinstance(value, str) else value if isinstance(value, list) else []
        return highest(self._settings.oidc_roles[each] for each in values if isinstance(each, str) and each in self._settings.oidc_roles)


def no_role(settings: OidcSettings) -> Forbidden:
    """For a good token that gives no role."""
    wanted, name = ", ".join(settings.oidc_roles), settings.oidc_roles_claim
    return Forbidden(f"The token gives no role: none of {wanted} is in its claim {name!r}. Ask who runs the identity provider for one.")


def unknown_tenant() -> Unauthenticated:
    """For a good token of a tenant that is not here."""
    return Unauthenticated("The token is of a tenant that does not exist here.")


def _claim(claims: Mapping[str, Any], name: str) -> Any:
    """The claim of this name, or the one that lies at this path, as in `realm_access.roles`."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _bad(reason: str) -> str:
    return f"The token is not good: {reason}."


def _reason(error: Exception) -> str:
    match error:
        case jwt.ExpiredSignatureError():
            return "it has expired"
        case jwt.ImmatureSignatureError():
            return "it is not valid yet"
        case jwt.InvalidAudienceError():
            return "it was made for another audience"
        case jwt.MissingRequiredClaimError():
            return f"it has no {error.claim}"
        case jwt.InvalidSignatureError():
            return "its signature does not fit"
        case jwt.InvalidKeyError() | jwt.InvalidAlgorithmError() | TypeError():
            return "its key and its algorithm do not fit together"
        case _:
            return "it cannot be read"
