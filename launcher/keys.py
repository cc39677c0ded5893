"""The control plane's public keys, and whether a message is genuine."""

import time

import httpx
import structlog

from contracts.command import CancelCommand, Command
from contracts.errors import TokenError, UnknownKey
from contracts.tokens import Audience, Claims, PublicKeys
from launcher.errors import KeysUnavailable, MessageRejected
from launcher.http import reason_of

log = structlog.get_logger()
REFETCH_SECONDS = 5.0
"""Keys are fetched again for a token whose key is not among them, but not more often, whatever is sent."""
REFRESH_SECONDS = 300.0
"""Keys are fetched anew after so long, so that one that was taken back is not trusted for ever."""
_TIMEOUT_SECONDS = 5.0


class JwksKeys:
    """Public keys of a JWKS document, kept while they fit and are not old. For one thread."""

    def __init__(self, url: str, client: httpx.Client) -> None:
        self._url = url
        self._client = client
        self._keys: PublicKeys | None = None
        self._asked_at = self._refresh_at = float("-inf")

    def verify(self, token: str, audience: Audience, read_at: float) -> Claims:
        """The claims of a token that was signed for `audience`, expired or not: only the API judges expiry.

        A key is published before it signs, so keys that were asked for after the token was read have the one that signed it. A token of
        a key that is not among older ones waits for such keys: a genuine message is never taken for forged while keys are changed, and
        all that were read before a fetch are judged by it. A forged one may wait for `REFETCH_SECONDS`.

        Args:
            read_at: when the message with the token had been read, by the monotonic clock.

        Raises:
            KeysUnavailable: the keys cannot be fetched now, or were fetched too lately to be fetched again.
            TokenError: the token is not genuine.
        """
        keys = self._current()
        try:
            return keys.verify(token, audience, now=None)
        except UnknownKey as unknown:
            if self._asked_at >= read_at:
                raise
            left = self._asked_at + REFETCH_SECONDS - time.monotonic()
            if left > 0:
                raise KeysUnavailable(f"{unknown}; the keys are fetched again", retry_after_seconds=left) from unknown
        return self._fetch().verify(token, audience, now=None)

    def _current(self) -> PublicKeys:
        if self._keys is None:
            return self._fetch()
        if time.monotonic() >= self._refresh_at:
            self._refresh_at = time.monotonic() + REFRESH_SECONDS
            try:
                return self._fetch()
            except KeysUnavailable as error:
                log.warning("the public keys are old and cannot be fetched anew; those of before are used on", error=str(error))
        return self._keys

    def _fetch(self) -> PublicKeys:
        asked_at = time.monotonic()
        try:
            response = self._client.get(self._url, timeout=_TIMEOUT_SECONDS)
            response.raise_for_status()
            keys = PublicKeys.from_jwks(response.json())
        except (httpx.HTTPError, ValueError, KeyError, AttributeError) as error:
            raise KeysUnavailable(f"the public keys cannot be fetched from {self._url}: {reason_of(error)}") from error
        self._asked_at = asked_at
        self._refresh_at = asked_at + REFRESH_SECONDS
        self._keys = keys
        return keys


def require_genuine(message: Command | CancelCommand, keys: JwksKeys, audience: Audience, read_at: float, work: str | None = None) -> None:
    """Pass a message whose token was signed for exactly its attempt and, when given, for exactly its `work` (see `covered_digest`).

    `read_at`: see `JwksKeys.verify`.

    Raises:
        MessageRejected: it is forged.
        KeysUnavailable: it cannot be judged now.
    """
    try:
        claims = keys.verify(message.flow_token, audience, read_at)
    except TokenError as error:
        raise MessageRejected(f"forged: {error}") from error
    for name in ("tenant", "process_id", "step", "attempt"):
        if getattr(claims, name) != getattr(message, name):
            raise MessageRejected(f"forged: the token was signed for another {name}")
    if claims.work != work:
        raise MessageRejected("forged: the token was signed for other work")
