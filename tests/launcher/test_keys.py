"""The launcher's public keys while those of the control plane change."""

from collections.abc import Iterator

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contracts.errors import TokenError, UnknownKey
from contracts.tokens import KeyRing
from launcher.errors import KeysUnavailable
from launcher.keys import JwksKeys
from tests.launcher.stub_api import Api

OLD, NEW = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()


@pytest.fixture
def keys(api: Api) -> Iterator[JwksKeys]:
    with httpx.Client() as http:
        api.keys = KeyRing([OLD])
        yield JwksKeys(api.jwks_url, http)


def test_a_key_newer_than_the_last_fetch_is_waited_for(api: Api, keys: JwksKeys, monkeypatch: pytest.MonkeyPatch) -> None:
    keys.verify(api.command().flow_token, "stratum:start")
    api.keys = KeyRing([NEW, OLD])
    genuine = api.command().flow_token
    with pytest.raises(KeysUnavailable, match="fetched again") as wait:  # not: forged
        keys.verify(genuine, "stratum:start")
    assert wait.value.retry_after_seconds is not None
    assert 0 < wait.value.retry_after_seconds <= 5
    monkeypatch.setattr("launcher.keys.REFETCH_SECONDS", 0.0)
    keys.verify(genuine, "stratum:start")


def test_a_key_that_nobody_has_is_forged_once_it_was_asked_for(api: Api, keys: JwksKeys, monkeypatch: pytest.MonkeyPatch) -> None:
    keys.verify(api.command().flow_token, "stratum:start")
    monkeypatch.setattr("launcher.keys.REFETCH_SECONDS", 0.0)
    api.keys = KeyRing([NEW])
    foreign = api.command().flow_token
    api.keys = KeyRing([OLD])
    with pytest.raises(UnknownKey):
        keys.verify(foreign, "stratum:start")


def test_a_bad_signature_of_a_known_key_is_forged_at_once(api: Api, keys: JwksKeys) -> None:
    token = api.command().flow_token
    keys.verify(token, "stratum:start")
    api.up = False
    with pytest.raises(TokenError):
        keys.verify(f"{token[:-8]}AAAAAAAA", "stratum:start")


def test_a_key_that_was_taken_back_is_forgotten(api: Api, keys: JwksKeys, monkeypatch: pytest.MonkeyPatch) -> None:
    token = api.command().flow_token
    keys.verify(token, "stratum:start")
    api.keys = KeyRing([NEW])
    keys.verify(token, "stratum:start")
    monkeypatch.setattr("launcher.keys.REFETCH_SECONDS", 0.0)
    monkeypatch.setattr("launcher.keys.REFRESH_SECONDS", -1.0)
    keys.verify(api.command().flow_token, "stratum:start")
    with pytest.raises(UnknownKey):
        keys.verify(token, "stratum:start")


def test_old_keys_serve_while_no_new_ones_can_be_had(api: Api, keys: JwksKeys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("launcher.keys.REFRESH_SECONDS", -1.0)
    token = api.command().flow_token
    keys.verify(token, "stratum:start")
    api.up = False
    for _ in range(3):
        keys.verify(token, "stratum:start")
