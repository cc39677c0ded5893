"""Signing keys in files: which one signs, which verify, and when a file changes."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contracts.command import AttemptRef
from contracts.errors import SigningKeyError, UnknownKey
from contracts.identifiers import new_id
from contracts.signing_keys import LiveKeyRing, SigningKey, in_order, load, parse, read, rotated

NOW = datetime(2024, 10, 5, 12, 0, tzinfo=UTC)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
REF = AttemptRef(tenant="acme", process_id=new_id(), step=0, attempt=1)


def a_key(signs_from: datetime | None = None, verifies_until: datetime | None = None) -> SigningKey:
    return SigningKey(Ed25519PrivateKey.generate(), signs_from, verifies_until)


def ids(keys: list[SigningKey]) -> list[str]:
    return [key.id for key in keys]


def test_what_is_written_is_read() -> None:
    keys = [a_key(), a_key(NOW), a_key(NOW, NOW + DAY), a_key(None, NOW)]
    again = parse("\n".join(key.text for key in keys), "file")
    assert [(key.id, key.signs_from, key.verifies_until) for key in again] == [(key.id, key.signs_from, key.verifies_until) for key in keys]


def test_without_bounds_the_first_signs_and_all_verify() -> None:
    keys = [a_key(), a_key(), a_key()]
    assert ids(in_order(keys, NOW)) == ids(keys)


def test_the_latest_that_may_sign_does() -> None:
    old, new, later = a_key(), a_key(NOW), a_key(NOW + MINUTE)
    keys = [later, old, new]
    assert ids(in_order(keys, NOW - MINUTE))[0] == old.id
    assert ids(in_order(keys, NOW))[0] == new.id
    assert ids(in_order(keys, NOW + MINUTE))[0] == later.id
    assert set(ids(in_order(keys, NOW - DAY))) == set(ids(keys)), "published before it signs"


def test_what_is_over_is_not_there() -> None:
    old, new = a_key(None, NOW), a_key()
    assert ids(in_order([old, new], NOW - MINUTE)) == ids([old, new])
    assert ids(in_order([old, new], NOW)) == [new.id]
    for keys in ([old], [old, a_key(NOW + MINUTE)]):
        with pytest.raises(SigningKeyError, match="no signing key may sign now"):
            in_order(keys, NOW)


def test_a_change_publishes_then_signs_then_retires() -> None:
    first = [a_key()]
    keys = rotated(first, NOW, 10 * MINUTE, DAY)
    new = next(key.id for key in keys if key.id != first[0].id)
    assert [ids(in_order(keys, NOW + after)) for after in (timedelta(), 9 * MINUTE)] == [[first[0].id, new]] * 2
    assert [ids(in_order(keys, NOW + after)) for after in (10 * MINUTE, DAY)] == [[new, first[0].id]] * 2
    assert ids(in_order(keys, NOW + DAY + 10 * MINUTE)) == [new]
    with pytest.raises(SigningKeyError, match="a change is under way"):
        rotated(keys, NOW + MINUTE, MINUTE, DAY)
    again = rotated(keys, NOW + 20 * MINUTE, MINUTE, 2 * DAY)
    assert len(again) == 3
    assert next(key for key in again if key.id == first[0].id).verifies_until == NOW + DAY + 10 * MINUTE, "no longer than before"
    assert len(rotated(again, NOW + 9 * DAY, MINUTE, DAY)) == 2, "what is over is left out of the file"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds no PEM block"),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "cannot read the signing key file"),
        ("signs-from: yesterday\n{pem}", "yesterday"),
        ("verifies-until: 2024-10-05T12:00:00\n{pem}", "no offset from UTC"),
    ],
)
def test_a_wrong_file(text: str, says: str) -> None:
    with pytest.raises(SigningKeyError, match=says):
        parse(text.replace("{pem}", a_key().text), "file")


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("contracts.signing_keys.CHECK_SECONDS", 0.0)
    path = tmp_path / "keys.pem"
    path.write_text(a_key().text)
    return path


def kid(ring: LiveKeyRing) -> list[str]:
    return [key["kid"] for key in ring.jwks()["keys"]]


def test_a_changed_file_is_read_again(file: Path) -> None:
    errors: list[SigningKeyError] = []
    ring = LiveKeyRing(str(file), errors.append)
    (old,) = read(file)
    token = ring.sign("stratum:start", REF, NOW + DAY)
    new = a_key()
    file.write_text(new.text + old.text)
    assert kid(ring) == [new.id, old.id]
    ring.verify(token, "stratum:start", NOW)
    file.write_text(new.text)
    with pytest.raises(UnknownKey):
        ring.verify(token, "stratum:start", NOW)
    assert not errors


@pytest.mark.parametrize("wrong", ["", "no key", None, "over"])
def test_a_file_that_becomes_wrong_changes_nothing(wrong: str | None, file: Path) -> None:
    errors: list[SigningKeyError] = []
    ring = LiveKeyRing(str(file), errors.append)
    before, text = kid(ring), file.read_text()
    if wrong is None:
        file.unlink()
    else:
        file.write_text(a_key(None, NOW).text if wrong == "over" else wrong)
    assert kid(ring) == before
    assert errors
    file.write_text(text + a_key().text)
    assert kid(ring)[0] == before[0]
    assert len(kid(ring)) == 2


def test_several_files(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    other.write_text(a_key().text)
    both = os.pathsep.join((str(file), str(other)))
    expected = ids(read(file) + read(other))
    assert kid(LiveKeyRing(both, lambda _: None)) == expected
    assert [key["kid"] for key in load(both).jwks()["keys"]] == expected


def test_a_start_with_a_wrong_file_fails(tmp_path: Path) -> None:
    for files in (str(tmp_path / "none.pem"), ""):
        with pytest.raises(SigningKeyError):
            LiveKeyRing(files, lambda _: None)
