"""What is asked for of a tenant: judged as a whole before anything is touched."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from contracts.errors import ContractError
from contracts.identifiers import IDENTIFIER_PATTERN, TENANT_PATTERN
from contracts.layout import StorageRoot
from stratum.errors import Invalid

Limit = int | Literal["none"]
LIMITS = {"max_held": "maxHeld", "max_executor_cores": "maxExecutorCores", "max_stored_bytes": "maxStoredBytes"}
"""Limits that may be taken away again, and their names in the chart's values."""

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_RESOURCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")
_QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?")
_LARGEST = 2**53 - 1
"""Values of a chart are floating numbers; up to here they are exact."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits that were named. None: not named, so it stays as it is; `none`: taken away."""

    max_in_flight: int | None = None
    max_held: Limit | None = None
    max_executor_cores: Limit | None = None
    max_stored_bytes: Limit | None = None

    def values(self) -> dict[str, Limit]:
        """Those that are named, as the chart names them."""
        named = {values_name: getattr(self, name) for name, values_name in {"max_in_flight": "maxInFlight", **LIMITS}.items()}
        return {name: value for name, value in named.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Wish:
    """A tenant to be made.

    Raises:
        Invalid: a part is not what it should be.
    """

    name: str
    bucket: str
    prefix: str
    namespace: str
    limits: Limits = Limits()
    quota: Mapping[str, str] = field(default_factory=dict)
    queue: str | None = None
    priority_class: str | None = None
    allowed_images: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        tenant_name(self.name)
        storage_root(self.bucket, self.prefix)
        _check(_LABEL, self.namespace, "The namespace", "Take small letters, digits and '-', at most 63.")

    @property
    def root(self) -> StorageRoot:
        """Where its data lies."""
        return StorageRoot(self.bucket, self.prefix)

    def named_values(self) -> dict[str, Any]:
        """What was named beside name and place, as the chart names it."""
        named: dict[str, Any] = {
            **self.limits.values(),
            "quota": dict(self.quota),
            "queue": self.queue,
            "priorityClass": self.priority_class,
            "allowedImages": list(self.allowed_images),
        }
        return {name: value for name, value in named.items() if value}


def tenant_name(name: str) -> str:
    """The name, if it is one.

    Raises:
        Invalid: it is none.
    """
    if re.fullmatch(TENANT_PATTERN.strip("^$"), name) is None:
        raise Invalid(f"{name!r} is no name of a tenant.", "Take small letters, digits and '-', at most 40, and no '-' at the ends.")
    return name


def storage_root(bucket: str, prefix: str) -> StorageRoot:
    """The place, if a new tenant may have it: each part of its prefix is an identifier, which is less than a `StorageRoot` allows.

    Raises:
        Invalid: bucket or prefix is none.
    """
    try:
        root = StorageRoot(bucket, prefix)
    except ContractError as error:
        raise Invalid(f"{error}.", "Give --bucket such as lake and --prefix such as acme/.") from error
    for part in prefix.removesuffix("/").split("/") if prefix else ():
        _check(re.compile(IDENTIFIER_PATTERN.strip("^$")), part, "The part of --prefix", "Take letters, digits, '.', '_' and '-'.")
    return root


def limit(option: str, text: str | None) -> Limit | None:
    """A limit as it is typed: a number from 1 on, or `none`; None when it is not named.

    Raises:
        Invalid: it is neither.
    """
    if text is None:
        return None
    if text == "none":
        return "none"
    if not (text.isascii() and text.isdecimal() and 0 < int(text) <= _LARGEST):
        raise Invalid(f"{option} {text!r} is neither a whole number from 1 to {_LARGEST} nor `none`.")
    return int(text)


def quota(pairs: Mapping[str, str], *, may_end: bool = False) -> Mapping[str, str]:
    """What a ResourceQuota shall hold. With `may_end`, `none` takes a key away.

    Raises:
        Invalid: a key or a quantity is none.
    """
    for key, quantity in pairs.items():
        _check(_RESOURCE, key, "--quota", "Its keys are those of a ResourceQuota, such as requests.cpu, requests.memory, pods.")
        if not (may_end and quantity == "none"):
            _check(_QUANTITY, quantity, f"--quota {key}", "A quantity is a number with a unit, such as 40, 500m or 200Gi.")
    return pairs


def _check(pattern: re.Pattern[str], text: str, what: str, hint: str) -> None:
    if pattern.fullmatch(text) is None:
        raise Invalid(f"{what} {text!r} is not valid.", hint)
