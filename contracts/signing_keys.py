"""Signing keys in files, and since when and until when each is used: keys are changed by changing a file, without a stop.

A file holds one or more Ed25519 private keys in PEM form. A line before a key may bound its use:

    signs-from: 2026-01-01T12:00:00Z          until then it is published, and signs nothing
    verifies-until: 2026-01-15T12:00:00Z      from then on it is as if it were not there

A key without them always was and always will be. Of the keys that may sign, the one that may since the latest moment does; the first
of several.
"""

import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from contracts.command import AttemptRef
from contracts.errors import SigningKeyError
from contracts.tokens import Audience, Claims, KeyRing, key_id

CHECK_SECONDS = 5.0
_ALWAYS = datetime.min.replace(tzinfo=UTC)
_BLOCK = re.compile(r"(?P<head>.*?)(?P<pem>-----BEGIN [A-Z ]+-----.*?-----END [A-Z ]+-----)", re.DOTALL)
_BOUND = re.compile(r"^(signs-from|verifies-until): *(\S+)\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key and the bounds of its use."""

    private: Ed25519PrivateKey
    signs_from: datetime | None = None
    verifies_until: datetime | None = None

    @property
    def id(self) -> str:
        """Its `kid`."""
        return key_id(self.private.public_key())

    def is_known(self, now: datetime) -> bool:
        """Whether it is published, and verifies."""
        return self.verifies_until is None or now < self.verifies_until

    def may_sign(self, now: datetime) -> bool:
        """Whether it may sign."""
        return self.is_known(now) and (self.signs_from is None or self.signs_from <= now)

    @property
    def text(self) -> str:
        """As it stands in a file."""
        bounds = (("signs-from", self.signs_from), ("verifies-until", self.verifies_until))
        lines = [f"{name}: {moment.astimezone(UTC).strftime('%Y-%m-%dT%H:%M:%SZ')}\n" for name, moment in bounds if moment is not None]
        return "".join(lines) + self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def in_order(keys: Sequence[SigningKey], now: datetime) -> list[SigningKey]:
    """The keys that are known now, the one that signs first.

    Raises:
        SigningKeyError: none may sign.
    """
    known = [key for key in keys if key.is_known(now)]
    able = [key for key in known if key.may_sign(now)]
    if not able:
        raise SigningKeyError("no signing key may sign now: all are over, or none has begun")
    signer = max(able, key=lambda key: key.signs_from or _ALWAYS)
    return [signer, *(key for key in known if key is not signer)]


def rotated(keys: Sequence[SigningKey], now: datetime, publish: timedelta, retire: timedelta) -> list[SigningKey]:
    """The keys and a new one: published at once, signing after `publish`, with the others gone `retire` after that.

    What is over is left out.

    Raises:
        SigningKeyError: another change is under way, or there is no key to change.
    """
    if any(key.signs_from is not None and key.signs_from > now for key in keys):
        raise SigningKeyError("a new key is published and does not sign yet: a change is under way")
    switch = now + publish
    old = [replace(key, verifies_until=min(key.verifies_until or switch + retire, switch + retire)) for key in in_order(keys, now)]
    return [SigningKey(Ed25519PrivateKey.generate(), signs_from=switch), *old]


def parse(text: str, name: str) -> list[SigningKey]:
    """The keys of a file's text; `name` is what errors call it.

    Raises:
        SigningKeyError: it holds none, or something else than Ed25519 private keys and their bounds.
    """
    keys = [_key(block["head"], block["pem"], name) for block in _BLOCK.finditer(text)]
    if not keys:
        raise SigningKeyError(f"cannot read the signing key {name}: it holds no PEM block")
    return keys


def read(path: Path) -> list[SigningKey]:
    """The keys of a file. Raises `SigningKeyError`."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SigningKeyError(f"cannot read the signing key {path}: {error}") from error
    return parse(text, str(path))


def _key(head: str, pem: str, name: str) -> SigningKey:
    try:
        private = load_pem_private_key(pem.encode(), password=None)
        bounds = {bound: _moment(text) for bound, text in _BOUND.findall(head)}
    except (ValueError, TypeError) as error:
        raise SigningKeyError(f"cannot read the signing key {name}: {error}") from error
    if not isinstance(private, Ed25519PrivateKey):
        raise SigningKeyError(f"{name} is not an Ed25519 private key")
    return SigningKey(private, bounds.get("signs-from"), bounds.get("verifies-until"))


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text} has no offset from UTC; end it with Z")
    return moment


def load(files: str) -> KeyRing:
    """The key ring of files, their paths joined by the system's path separator, as it is at this moment. Raises `SigningKeyError`."""
    return _ring(in_order(_read_all(_paths(files)), datetime.now(UTC)))


def _paths(files: str) -> list[Path]:
    return [Path(file) for file in files.split(os.pathsep) if file]


def _read_all(paths: Sequence[Path]) -> list[SigningKey]:
    keys = [key for path in paths for key in read(path)]
    if not keys:
        raise SigningKeyError("no signing key is configured")
    return keys


def _ring(order: Sequence[SigningKey]) -> KeyRing:
    return KeyRing(key.private for key in order)


class LiveKeyRing:
    """The key ring of `files` (paths joined by the system's path separator) as it is now.

    It is read again when a file changes, and each key is kept to its times.

    Files that turn out wrong later are reported to `on_error`, and what was read last stays in force.

    Raises:
        SigningKeyError: at the start, when a file is missing or wrong.
    """

    def __init__(self, files: str, on_error: Callable[[SigningKeyError], None]) -> None:
        self._files = _paths(files)
        self._on_error = on_error
        self._marks = self._look()
        self._keys = _read_all(self._files)
        self._order = in_order(self._keys, datetime.now(UTC))
        self._ring = _ring(self._order)
        self._next_check = time.monotonic() + CHECK_SECONDS

    def sign(self, audience: Audience, ref: AttemptRef, expires_at: datetime, run_id: str | None = None, *, work: str | None = None) -> str:
        """See `KeyRing.sign`."""
        return self._current().sign(audience, ref, expires_at, run_id, work=work)

    def verify(self, token: str, audience: Audience, now: datetime | None) -> Claims:
        """See `PublicKeys.verify`."""
        return self._current().verify(token, audience, now)

    def jwks(self) -> dict[str, Any]:
        """See `KeyRing.jwks`."""
        return self._current().jwks()

    def _current(self) -> KeyRing:
        try:
            if time.monotonic() >= self._next_check:
                self._next_check = time.monotonic() + CHECK_SECONDS
                marks = self._look()
                if marks != self._marks:
                    self._marks = marks
                    keys = _read_all(self._files)
                    in_order(keys, datetime.now(UTC))  # a file that leaves nothing to sign with is wrong
                    self._keys = keys
            order = in_order(self._keys, datetime.now(UTC))
        except SigningKeyError as error:
            self._on_error(error)
            return self._ring
        if order != self._order:
            self._order = order
            self._ring = _ring(order)
        return self._ring

    def _look(self) -> list[tuple[int, int]]:
        # a Secret is swapped by a symbolic link: stat() follows it
        try:
            return [((found := file.stat()).st_mtime_ns, found.st_ino) for file in self._files]
        except OSError:
            return []


Signer = KeyRing | LiveKeyRing
"""What signs and verifies."""
