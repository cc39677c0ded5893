"""The control plane's public keys, and whether a message is genuine."""

import time

import httpx

from contracts.command import CancelCommand, Command
from contracts.errors import TokenError
from contracts.tokens import Audience, Claims, PublicKeys
from launcher.errors import KeysUnavailable, MessageRejected
from launcher.http import reason_of

REFETCH_SECONDS = 5.0
"""Keys are fetched again for a token they do not fit, but not more often, whatever is sent."""
_TIMEOUT_SECONDS = 5.0


class JwksKeys:
    """Public keys of a JWKS document, kept until a token does not fit them. For one thread."""

    def __init__(self, url: str, client: httpx.Client) -> None:
        self._url = url
        self._client = client
        self._keys: PublicKeys | None = None
        self._fetched_at = float("-inf")

    def verify(self, token: str, audience: Audience) -> Claims:
        """The claims of a token that was signed for `audience`, expired or not: only the API judges expiry.

        Raises:
            KeysUnavailable: the keys cannot be fetched now.
            TokenError: the token is not genuine.
        """
        if self._keys is None:
            self._keys = self._fetch()
        try:
            return self._keys.verify(token, audience, now=None)
        except TokenError:
            if time.monotonic() - self._fetched_at < REFETCH_SECONDS:
                raise
        self._keys = self._fetch()
        return self._keys.verify(token, audience, now=None)

    def _fetch(self) -> PublicKeys:
        try:
            response = self._client.get(self._url, timeout=_TIMEOUT_SECONDS)
            response.raise_for_status()
            keys = PublicKeys.from_jwks(response.json())
        except (httpx.HTTPError, ValueError, KeyError, AttributeError) as error:
            raise KeysUnavailable(f"the public keys cannot be fetched from {self._url}: {reason_of(error)}") from error
        self._fetched_at = time.monotonic()
        return keys


def require_genuine(message: Command | CancelCommand, keys: JwksKeys, audience: Audience, work: str | None = None) -> None:
    """Pass a message whose token was signed for exactly its attempt and, when given, for exactly its `work` (see `covered_digest`).

    Raises:
        MessageRejected: it is forged.
        KeysUnavailable: it cannot be judged now.
    """
    try:
        claims = keys.verify(message.flow_token, audience)
    except TokenError as error:
        raise MessageRejected(f"forged: {error}") from error
    for name in ("tenant", "process_id", "step", "attempt"):
        if getattr(claims, name) != getattr(message, name):
            raise MessageRejected(f"forged: the token was signed for another {name}")
    if claims.work != work:
        raise MessageRejected("forged: the token was signed for other work")
