"""The base of every document and message."""

import hashlib
import json
from typing import Any

from pydantic import BaseModel, ConfigDict


class Contract(BaseModel):
    """Immutable; unknown fields are refused, so that a typo never passes for a setting."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings")


class Tolerant(Contract):
    """A message read by a part that may be older than its writer during an upgrade: unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)


def canonical_json(value: Any) -> bytes:
    """UTF-8 JSON with sorted keys and no blanks: the same value gives the same bytes, so it can be hashed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def sha256_of(value: Any) -> str:
    """`sha256:<hex>` of the canonical JSON of `value`."""
    return f"sha256:{hashlib.sha256(canonical_json(value)).hexdigest()}"
