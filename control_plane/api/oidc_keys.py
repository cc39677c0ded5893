"""The identity provider's public keys: fetched when needed, kept, and never asked for more often than every few seconds."""

import asyncio
import json
import time
from collections.abc import Mapping
from typing import Any

import httpx
import jwt
import structlog

from control_plane.errors import Unauthenticated, Unavailable
from control_plane.oidc_settings import OidcSettings

log = structlog.get_logger()
REFETCH_SECONDS = 5.0
"""Between two fetches, whatever is sent to us and however they end."""
REFRESH_SECONDS = 300.0
"""Keys are fetched anew after so long, so that one that the provider took back is not trusted for ever."""
FETCH_SECONDS = 5.0
"""A fetch, discovery included, takes no longer."""
_MOST_BYTES = 1024 * 1024
_ASYMMETRIC = ("RSA", "EC", "OKP")
Jwk = Mapping[str, Any]


class _Unusable(Exception):
    """The provider answered with something that is not what it should be."""


class ProviderKeys:
    """Public keys by their id. For one event loop."""

    def __init__(self, settings: OidcSettings, client: httpx.AsyncClient) -> None:
        self._issuer = settings.oidc_issuer or ""
        self._jwks_url = settings.oidc_jwks_url
        self._client = client
        self._keys: dict[str, Jwk] = {}
        self._fetched_at = self._asked_at = float("-inf")
        self._failed = False
        self._fetch: asyncio.Task[None] | None = None

    async def get(self, kid: str) -> Jwk:
        """The key of this id.

        Raises:
            Unauthenticated: the provider has no such key.
            Unavailable: it does not tell, and we do not know the key from before.
        """
        if kid in self._keys:
            if time.monotonic() - self._fetched_at > REFRESH_SECONDS:
                self._ask()  # nobody waits for it: the keys that we have are good
            return self._keys[kid]
        fetch = self._ask()
        if fetch is not None:
            await asyncio.shield(fetch)  # one fetch for all who wait; it goes on when one of them leaves
        if kid in self._keys:
            return self._keys[kid]
        if self._failed:
            raise Unavailable("The identity provider does not answer, so the token cannot be judged.", retry_after=int(REFETCH_SECONDS))
        raise Unauthenticated("The token was signed by a key that the identity provider does not have.")

    async def close(self) -> None:
        """End a fetch that is under way."""
        if self._fetch is not None:
            self._fetch.cancel()
            await asyncio.wait([self._fetch])

    def _ask(self) -> asyncio.Task[None] | None:
        """The fetch under way, or a new one if it is time for it."""
        if self._fetch is not None and not self._fetch.done():
            return self._fetch
        if time.monotonic() - self._asked_at < REFETCH_SECONDS:
            return None
        self._asked_at = time.monotonic()
        self._fetch = asyncio.create_task(self._update())
        return self._fetch

    async def _update(self) -> None:
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                url = self._jwks_url or await self._discover()
                self._keys = _usable(await self._document(url))
            self._fetched_at, self._failed = time.monotonic(), False
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, _Unusable) as error:
            self._failed = True
            log.warning("the identity provider's keys cannot be fetched", issuer=self._issuer, error=str(error) or type(error).__name__)

    async def _discover(self) -> str:
        document = await self._document(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
        if document.get("issuer") != self._issuer:
            raise _Unusable(f"its discovery document is of the issuer {document.get('issuer')!r}: set STRATUM_OIDC_ISSUER to that")
        if not isinstance(url := document.get("jwks_uri"), str):
            raise _Unusable("its discovery document has no jwks_uri: set STRATUM_OIDC_JWKS_URL")
        return url

    async def _document(self, url: str) -> dict[str, Any]:
        body = bytearray()
        async with self._client.stream("GET", url, headers={"Accept": "application/json"}) as response:
            if response.status_code != httpx.codes.OK:
                raise _Unusable(f"{url} answers {response.status_code}")
            async for part in response.aiter_bytes():
                body += part
                if len(body) > _MOST_BYTES:
                    raise _Unusable(f"{url} answers more than {_MOST_BYTES} bytes")
        try:
            document = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise _Unusable(f"{url} does not answer with JSON") from error
        if not isinstance(document, dict):
            raise _Unusable(f"{url} does not answer with a JSON object")
        return document


def _usable(document: Mapping[str, Any]) -> dict[str, Jwk]:
    """Public keys for signatures, by id. Others are passed over; none at all is no key set."""
    found = document.get("keys")
    keys: dict[str, Jwk] = {
        jwk["kid"]: jwk for jwk in (found if isinstance(found, list) else ()) if isinstance(jwk, dict) and _is_usable(jwk)
    }
    if not keys:
        raise _Unusable("its key set has no public key with a `kid`")
    return keys


def _is_usable(jwk: Jwk) -> bool:
    if jwk.get("kty") not in _ASYMMETRIC or jwk.get("use", "sig") != "sig" or not isinstance(jwk.get("kid"), str):
        return False
    try:
        jwt.PyJWK(dict(jwk))
    except jwt.PyJWTError:
        return False
    return True
