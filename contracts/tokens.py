"""Signed tokens (JWT, EdDSA): who may start an attempt, who may report for a run, who may cancel."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from jwt.algorithms import OKPAlgorithm
from pydantic import ValidationError

from contracts.command import AttemptRef, Sha256
from contracts.errors import SigningKeyError, TokenError, UnknownKey
from contracts.identifiers import Identifier
from contracts.model import canonical_json, sha256_of

ISSUER = "stratum"
Audience = Literal["stratum:start", "stratum:run", "stratum:cancel"]


class Claims(AttemptRef):
    """What a token is bound to. Only the API judges `exp`, on database time."""

    aud: Audience
    exp: datetime
    run_id: Identifier | None = None
    work: Sha256 | None = None
    chain: tuple[Any, ...] = ()
    state: dict[str, Any] = {}


class PublicKeys:
    """Verifies tokens by the public keys of a JSON Web Key Set."""

    def __init__(self, keys: Mapping[str, Ed25519PublicKey]) -> None:
        self._keys = dict(keys)

    @classmethod
    def from_jwks(cls, document: Mapping[str, Any]) -> "PublicKeys":
        """From a JWKS document (RFC 7517); keys of other kinds are passed over."""
        keys: dict[str, Ed25519PublicKey] = {}
        for jwk in document.get("keys", ()):
            if jwk.get("kty") == "OKP" and jwk.get("crv") == "Ed25519":
                key = OKPAlgorithm.from_jwk(jwk)
                if isinstance(key, Ed25519PublicKey):
                    keys[jwk["kid"]] = key
        return cls(keys)

    def verify(self, token: str, audience: Audience, now: datetime | None) -> Claims:
        """The claims of a token that one of the keys signed for `audience`.

        `now`: the time to judge expiry by; None where the reader is not the one to judge it.

        Raises:
            UnknownKey: none of the keys is the one that the token names.
            TokenError: for anything else; the message never holds the token.
        """
        try:
            key = self._keys.get(jwt.get_unverified_header(token).get("kid", ""))
            if key is None:
                raise UnknownKey("the token was signed by an unknown key")
            payload = jwt.decode(
                token,
                key,
                algorithms=["EdDSA"],
                audience=audience,
                issuer=ISSUER,
                options={"require": ["exp", "aud", "iss", "sub"], "verify_exp": False, "verify_iat": False, "verify_nbf": False},
            )
            claims = Claims.model_validate({**payload, "process_id": payload["sub"]})
        except (jwt.InvalidTokenError, ValidationError, RecursionError) as error:
            raise TokenError(f"the token is not valid: {_reason(error)}") from error
        if now is not None and claims.exp <= now:
            raise TokenError(f"the token expired at {claims.exp.isoformat()}")
        return claims


def _reason(error: Exception) -> str:
    """In words that help whoever holds the token, and nobody else."""
    if isinstance(error, jwt.InvalidAudienceError):
        return "it was made for another purpose"
    if isinstance(error, jwt.InvalidSignatureError):
        return "its signature does not fit"
    if isinstance(error, jwt.InvalidAlgorithmError):
        return "it is not signed with EdDSA"
    return "it cannot be read"


class KeyRing(PublicKeys):
    """The control plane's private keys: the first signs, all verify, so that keys can be changed without a stop."""

    def __init__(self, private_keys: Iterable[Ed25519PrivateKey]) -> None:
        private = list(private_keys)
        if not private:
            raise SigningKeyError("no signing key is configured")
        self._jwks = [_jwk(key.public_key()) for key in private]
        super().__init__({jwk["kid"]: key.public_key() for jwk, key in zip(self._jwks, private, strict=True)})
        self._signer = private[0]

    @classmethod
    def load(cls, files: str) -> "KeyRing":
        """From PEM files as `contracts.signing_keys` describes them, their paths joined by the system's path separator.

        Raises:
            SigningKeyError: a file is missing, or holds no Ed25519 private key that may sign now.
        """
        from contracts.signing_keys import load  # it is built on this module

        return load(files)

    def sign(self, audience: Audience, ref: AttemptRef, expires_at: datetime, run_id: str | None = None, *, work: str | None = None) -> str:
        """A token bound to one attempt, and to a run, or to a command's work (`covered_digest`). The same arguments give the same token."""
        payload: dict[str, Any] = {
            "iss": ISSUER,
            "aud": audience,
            "sub": str(ref.process_id),
            "tenant": ref.tenant,
            "step": ref.step,
            "attempt": ref.attempt,
            "chain": [],
            "state": {},
            "exp": int(expires_at.astimezone(UTC).timestamp()),
        }
        if run_id is not None:
            payload["run_id"] = run_id
        if work is not None:
            payload["work"] = work
        return jwt.encode(payload, self._signer, algorithm="EdDSA", headers={"kid": self._jwks[0]["kid"]})

    def jwks(self) -> dict[str, Any]:
        """The public keys as a JWKS document."""
        return {"keys": self._jwks}


def key_id(key: Ed25519PublicKey) -> str:
    """The `kid` of a key: it follows from the key."""
    return str(_jwk(key)["kid"])


def _jwk(key: Ed25519PublicKey) -> dict[str, Any]:
    jwk = OKPAlgorithm.to_jwk(key, as_dict=True)
    # the key id is the thumbprint of RFC 7638 over the members that RFC 8037 requires
    thumbprint = sha256_of(json.loads(canonical_json({name: jwk[name] for name in ("crv", "kty", "x")})))
    return {"kty": jwk["kty"], "crv": jwk["crv"], "x": jwk["x"], "use": "sig", "alg": "EdDSA", "kid": thumbprint.removeprefix("sha256:")}
