"""The form of API keys: what is shown of one, and what is stored."""

import hashlib
import re
import secrets
import string

_ALPHABET = string.ascii_letters + string.digits
_VISIBLE = 8
_SECRET_BYTES = 32
_FORM = re.compile(rf"(stratum_[A-Za-z0-9]{{{_VISIBLE}}})_[A-Za-z0-9_-]{{43}}")


def new_key() -> str:
    """A key of 256 random bits behind a part that may be shown: `stratum_<8 visible>_<secret>`."""
    visible = "".join(secrets.choice(_ALPHABET) for _ in range(_VISIBLE))
    return f"stratum_{visible}_{secrets.token_urlsafe(_SECRET_BYTES)}"


def visible_part(key: str) -> str:
    """How the key begins, to recognise it by. Keys that others made show their first characters."""
    form = _FORM.fullmatch(key)
    return form[1] if form else key[:_VISIBLE]


def key_hash(key: str) -> bytes:
    """What is stored of an API key. Keys are long and random, so a plain hash is enough."""
    return hashlib.sha256(key.encode()).digest()
