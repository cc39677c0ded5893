"""Tokens: what is accepted, and every forgery that came to mind."""

import base64
import hashlib
import hmac
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from contracts.command import AttemptRef
from contracts.errors import SigningKeyError, TokenError
from contracts.identifiers import new_id
from contracts.tokens import KeyRing, PublicKeys

NOW = datetime(2024, 10, 5, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(minutes=15)
REF = AttemptRef(tenant="acme", process_id=new_id(), step=0, attempt=1)
KEY = Ed25519PrivateKey.generate()


@pytest.fixture
def ring() -> KeyRing:
    return KeyRing([KEY])


@pytest.fixture
def token(ring: KeyRing) -> str:
    return ring.sign("stratum:run", REF, LATER, run_id="run-1")


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(part: str) -> Any:
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def _part(value: Any) -> str:
    return _encode(json.dumps(value).encode())


def _pem(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _signed(header: dict[str, Any], payload: dict[str, Any], key: Ed25519PrivateKey = KEY) -> str:
    message = f"{_part(header)}.{_part(payload)}"
    return f"{message}.{_encode(key.sign(message.encode()))}"


def test_a_token_says_what_it_was_made_for(ring: KeyRing, token: str) -> None:
    claims = ring.verify(token, "stratum:run", NOW)
    assert AttemptRef.model_validate(claims.model_dump(include=set(AttemptRef.model_fields))) == REF
    assert (claims.run_id, claims.exp, claims.chain, claims.state) == ("run-1", LATER, (), {})


def test_readers_have_only_the_public_keys(ring: KeyRing, token: str) -> None:
    document = json.loads(json.dumps(ring.jwks()))
    assert PublicKeys.from_jwks(document).verify(token, "stratum:run", NOW) == ring.verify(token, "stratum:run", NOW)
    assert all("d" not in jwk for jwk in document["keys"])


def test_the_same_arguments_give_the_same_token(ring: KeyRing, token: str) -> None:
    assert ring.sign("stratum:run", REF, LATER, run_id="run-1") == token


def test_the_moment_of_expiry_is_too_late(ring: KeyRing, token: str) -> None:
    ring.verify(token, "stratum:run", LATER - timedelta(seconds=1))
    with pytest.raises(TokenError, match="expired"):
        ring.verify(token, "stratum:run", LATER)


def test_who_is_not_to_judge_expiry_gives_no_time(ring: KeyRing) -> None:
    long_ago = ring.sign("stratum:start", REF, datetime(2001, 1, 1, tzinfo=UTC))
    assert ring.verify(long_ago, "stratum:start", None).attempt == 1


@pytest.mark.parametrize("audience", ["stratum:start", "stratum:cancel"])
def test_another_audience(ring: KeyRing, token: str, audience: Any) -> None:
    with pytest.raises(TokenError):
        ring.verify(token, audience, NOW)


def test_no_algorithm(ring: KeyRing, token: str) -> None:
    header, payload, signature = token.split(".")
    for algorithm in ("none", "None", "NONE", ""):
        unsigned = _part({**_decode(header), "alg": algorithm})
        for forged in (f"{unsigned}.{payload}.", f"{unsigned}.{payload}.{signature}"):
            with pytest.raises(TokenError):
                ring.verify(forged, "stratum:run", NOW)


def test_public_key_taken_for_a_shared_secret(ring: KeyRing, token: str) -> None:
    header, payload, _ = token.split(".")
    public = KEY.public_key()
    secrets = (
        public.public_bytes(Encoding.Raw, PublicFormat.Raw),
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        ring.jwks()["keys"][0]["x"].encode(),
    )
    for secret in secrets:
        message = f"{_part({**_decode(header), 'alg': 'HS256'})}.{payload}"
        forged = f"{message}.{_encode(hmac.new(secret, message.encode(), hashlib.sha256).digest())}"
        with pytest.raises(TokenError):
            ring.verify(forged, "stratum:run", NOW)


def test_a_foreign_key_under_our_key_id(ring: KeyRing, token: str) -> None:
    header, payload, _ = token.split(".")
    with pytest.raises(TokenError):
        ring.verify(_signed(_decode(header), _decode(payload), Ed25519PrivateKey.generate()), "stratum:run", NOW)


@pytest.mark.parametrize("kid", ["unknown", "", None])
def test_an_unknown_key_id(ring: KeyRing, token: str, kid: str | None) -> None:
    header, payload, _ = token.split(".")
    changed = {**_decode(header), "kid": kid} if kid is not None else {"alg": "EdDSA", "typ": "JWT"}
    with pytest.raises(TokenError, match="unknown key"):
        ring.verify(_signed(changed, _decode(payload)), "stratum:run", NOW)


@pytest.mark.parametrize(
    "change", [{"tenant": "other"}, {"attempt": 2}, {"step": 1}, {"sub": str(new_id())}, {"run_id": "run-2"}, {"exp": 4_000_000_000}]
)
def test_changed_claims(ring: KeyRing, token: str, change: dict[str, Any]) -> None:
    header, payload, signature = token.split(".")
    forged = f"{header}.{_part({**_decode(payload), **change})}.{signature}"
    with pytest.raises(TokenError):
        ring.verify(forged, "stratum:run", NOW)


@pytest.mark.parametrize("claim", ["iss", "aud", "sub", "exp", "tenant", "step", "attempt"])
def test_a_signed_token_without_a_claim(ring: KeyRing, token: str, claim: str) -> None:
    header, payload, _ = token.split(".")
    fewer = {name: value for name, value in _decode(payload).items() if name != claim}
    with pytest.raises(TokenError):
        ring.verify(_signed(_decode(header), fewer), "stratum:run", NOW)


@pytest.mark.parametrize("change", [{"iss": "another"}, {"sub": "42"}, {"attempt": "1"}, {"exp": "soon"}, {"run_id": "../up"}])
def test_a_signed_token_with_a_wrong_claim(ring: KeyRing, token: str, change: dict[str, Any]) -> None:
    header, payload, _ = token.split(".")
    with pytest.raises(TokenError):
        ring.verify(_signed(_decode(header), {**_decode(payload), **change}), "stratum:run", NOW)


@pytest.mark.parametrize("text", ["", "a", "a.b", "a.b.c", "..", "\u00e4.\u00f6.\u00fc", "e30.e30.e30", "Bearer x"])
def test_no_token_at_all(ring: KeyRing, text: str) -> None:
    with pytest.raises(TokenError):
        ring.verify(text, "stratum:run", NOW)


def test_no_message_holds_the_token(ring: KeyRing, token: str) -> None:
    with pytest.raises(TokenError) as caught:
        ring.verify(token, "stratum:start", NOW)
    assert not any(part in str(caught.value) for part in token.split("."))


def test_keys_change_without_a_stop(ring: KeyRing, token: str) -> None:
    after = KeyRing([Ed25519PrivateKey.generate(), KEY])
    newer = after.sign("stratum:run", REF, LATER)
    readers = PublicKeys.from_jwks(after.jwks())
    assert len(after.jwks()["keys"]) == 2
    for signed in (token, newer):
        readers.verify(signed, "stratum:run", NOW)
    with pytest.raises(TokenError, match="unknown key"):
        ring.verify(newer, "stratum:run", NOW)


def test_key_ids_are_of_the_key_alone(ring: KeyRing) -> None:
    assert KeyRing([KEY]).jwks() == ring.jwks()
    assert KeyRing([Ed25519PrivateKey.generate()]).jwks() != ring.jwks()


def test_keys_of_other_kinds_are_passed_over(ring: KeyRing, token: str) -> None:
    others = [{"kty": "RSA", "kid": "r", "n": "AQAB", "e": "AQAB"}, {"kty": "OKP", "crv": "X25519", "kid": "x", "x": "AA"}]
    assert PublicKeys.from_jwks({"keys": [*others, *ring.jwks()["keys"]]}).verify(token, "stratum:run", NOW).attempt == 1


def test_a_ring_is_read_from_files(tmp_path: Path, token: str) -> None:
    files = [tmp_path / "new.pem", tmp_path / "old.pem"]
    for file, key in zip(files, (Ed25519PrivateKey.generate(), KEY), strict=True):
        file.write_bytes(_pem(key))
    KeyRing.load(os.pathsep.join(map(str, files))).verify(token, "stratum:run", NOW)


def test_unfit_key_files(tmp_path: Path) -> None:
    elliptic = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for content in (b"", b"no key", elliptic, public):
        file = tmp_path / "key.pem"
        file.write_bytes(content)
        with pytest.raises(SigningKeyError, match=r"key\.pem"):
            KeyRing.load(str(file))
    with pytest.raises(SigningKeyError, match=r"missing\.pem"):
        KeyRing.load(str(tmp_path / "missing.pem"))
    with pytest.raises(SigningKeyError, match="no signing key"):
        KeyRing.load("")
