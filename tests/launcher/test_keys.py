"""The launcher's public keys while those of the control plane change."""

import time
from collections.abc import Iterator
from types import SimpleNamespace

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
    keys.verify(api.command().flow_token, "stratum:start", time.monotonic())
    api.keys = KeyRing([NEW, OLD])
    genuine = api.command().flow_token
    with pytest.raises(KeysUnavailable, match="fetched again") as wait:  # not: forged
        keys.verify(genuine, "stratum:start", time.monotonic())
    assert wait.value.retry_after_seconds is not None
    assert 0 < wait.value.retry_after_seconds <= 5
    monkeypatch.setattr("launcher.keys.REFETCH_SECONDS", 0.0)
    keys.verify(genuine, "stratum:start", time.monotonic())


def test_a_key_that_nobody_has_is_forged_once_it_was_asked_for(api: Api, keys: JwksKeys, monkeypatch: pytest.MonkeyPatch) -> None:
    keys.verify(api.command().flow_token, "stratum:start", time.monotonic())
    monkeypatch.setattr("launcher.keys.REFETCH_SECONDS", 0.0)
    api.keys = KeyRing([NEW])
    foreign = api.command().flow_token
    api.keys = KeyRing([OLD])
    with pytest.raises(UnknownKey):
        keys.verify(foreign, "stratum:start", time.monotonic())


def test_a_bad_signature_of_a_known_key_is_forged_at_once(api: Api, keys: JwksKeys) -> None:
    token = api.command().flow_token
    keys.verify(token, "stratum:start", time.monotonic())
    api.up = False
    with pytest.raises(TokenError):
        keys.verify(f"{token[:-8]}AAAAAAAA", "stratum:start", time.monotonic())


def test_a_key_that_was_taken_back_is_forgotten(api: Api, keys: JwksKeys, monkeypatch: pytest.MonkeyPatch) -> None:
    token = api.command().flow_token
    keys.verify(token, "stratum:start", time.monotonic())
    api.keys = KeyRing([NEW])
    keys.verify(token, "stratum:start", time.monotonic())
    monkeypatch.setattr("launcher.keys.REFETCH_SECONDS", 0.0)
    monkeypatch.setattr("launcher.keys.REFRESH_SECONDS", -1.0)
    keys.verify(api.command().flow_token, "stratum:start", time.monotonic())
    with pytest.raises(UnknownKey):
        keys.verify(token, "stratum:start", time.monotonic())


def test_old_keys_serve_while_no_new_ones_can_be_had(api: Api, keys: JwksKeys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("launcher.keys.REFRESH_SECONDS", -1.0)
    token = api.command().flow_token
    keys.verify(token, "stratum:start", time.monotonic())
    api.up = False
    for _ in range(3):
        keys.verify(token, "stratum:start", time.monotonic())


def test_one_fetch_judges_all_that_were_read_before_it(api: Api, keys: JwksKeys, monkeypatch: pytest.MonkeyPatch) -> None:
    """A made-up key costs one fetch for all messages that are held, however many such keys there are."""
    now = time.monotonic()
    monkeypatch.setattr("launcher.keys.time", SimpleNamespace(monotonic=lambda: now))
    genuine, forged = api.command().flow_token, []
    keys.verify(genuine, "stratum:start", now)
    for _ in range(100):
        api.keys = KeyRing([Ed25519PrivateKey.generate()])
        forged.append(api.command().flow_token)
    api.keys = KeyRing([NEW, OLD])
    genuine = api.command().flow_token
    now = read_at = now + 1
    with pytest.raises(KeysUnavailable) as wait:
        keys.verify(forged[0], "stratum:start", read_at)
    now += wait.value.retry_after_seconds or 0
    for token in forged:
        with pytest.raises(UnknownKey):
            keys.verify(token, "stratum:start", read_at)
    assert keys.verify(genuine, "stratum:start", read_at).tenant == "acme"
    assert api.keys_asked == 2
    # a message that was read since may have been signed by a key that is newer than the fetch
    with pytest.raises(KeysUnavailable):
        keys.verify(forged[0], "stratum:start", now + 1)
