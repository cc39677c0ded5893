"""The values of a release, as far as tenants are concerned: read, and changed copies of them. Nothing here knows a cluster."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from stratum.errors import Conflict, NotFound
from stratum.tenants.wish import Limits, Wish

Values = dict[str, Any]
DEV_TENANT = "local"
_DEV_BUCKET = "stratum"
_MOST_IN_FLIGHT = 1000


@dataclass(frozen=True, slots=True)
class Release:
    """A release by its name, and the values that somebody gave it."""

    name: str
    namespace: str
    values: Values

    @property
    def is_dev(self) -> bool:
        """Whether it brings its own database, Kafka and store."""
        return bool(self._dev.get("enabled"))

    @property
    def dev_bucket(self) -> str:
        """The bucket of a release with `dev.enabled`."""
        return str(self._dev.get("bucket") or _DEV_BUCKET)

    @property
    def fullname(self) -> str:
        """What the chart's objects begin with; `stratum.fullname` of the chart says the same."""
        name = self.values.get("fullnameOverride")
        if not name:
            own = self.values.get("nameOverride") or "stratum"
            name = self.name if own in self.name else f"{self.name}-{own}"
        return str(name)[:40].removesuffix("-")

    @property
    def s3(self) -> Mapping[str, Any]:
        """`s3` of the values."""
        found: Mapping[str, Any] = self.values.get("s3") or {}
        return found

    @property
    def entries(self) -> list[Values]:
        """`tenants` of the values, as they are written there."""
        return list(self.values.get("tenants") or ())

    @property
    def tenants(self) -> list[Values]:
        """All tenants with nothing left open, the one that `dev` adds first. `stratum.tenants` of the chart says the same."""
        given = self.entries
        if self.is_dev and all(entry["name"] != DEV_TENANT for entry in given):
            given = [{"name": DEV_TENANT, "bucket": self.dev_bucket, "quota": self._dev.get("quota") or {}}, *given]
        return [self._complete(entry) for entry in given]

    @property
    def _dev(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.values.get("dev") or {}
        return found

    def _complete(self, entry: Values) -> Values:
        base = {"namespace": f"{self.namespace}-{entry['name']}", "prefix": "", "maxInFlight": _MOST_IN_FLIGHT, "quota": {}}
        return {**base, **{name: value for name, value in entry.items() if value is not None}}

    def tenant(self, name: str) -> Values:
        """One tenant with nothing left open.

        Raises:
            NotFound: there is none of that name.
        """
        for entry in self.tenants:
            if entry["name"] == name:
                return entry
        names = ", ".join(entry["name"] for entry in self.tenants) or "none"
        raise NotFound(f"The release {self.name} has no tenant {name!r}.", f"It has: {names}.")

    def has(self, name: str) -> bool:
        """Whether the values name this tenant."""
        return any(entry["name"] == name for entry in self.entries)

    def require_named(self, name: str) -> None:
        """Refuse to change a tenant that the values do not name.

        Raises:
            NotFound: there is none of that name.
            Conflict: it is there because of `dev.enabled`.
        """
        self.tenant(name)
        if not self.has(name):
            raise Conflict(f"The tenant {name} comes with dev.enabled.", "Change `dev.bucket` and `dev.quota` in the values instead.")

    # -- changed copies --------------------------------------------------------------------------------------------------

    def with_tenant(self, entry: Values) -> Values:
        """The values with one tenant more at the end; one of this name is replaced where it is."""
        entries = [entry if each["name"] == entry["name"] else each for each in self.entries]
        return self._with(entries if self.has(entry["name"]) else [*entries, entry])

    def without_tenant(self, name: str) -> Values:
        """The values without a tenant."""
        return self._with([each for each in self.entries if each["name"] != name])

    def with_limits(self, name: str, limits: Limits, quota: Mapping[str, str]) -> Values:
        """The values with some limits of a tenant changed. A quota of `none` takes its key away.

        Raises:
            Conflict: the release does not make this tenant in the control plane.
        """
        self.require_named(name)
        (entry,) = [deepcopy(each) for each in self.entries if each["name"] == name]
        if limits.values() and not (entry.get("apiKey") or {}).get("existingSecret"):
            raise Conflict(
                f"The release does not make the tenant {name} in the control plane: it has no `apiKey` in the values.",
                f"Change it where it was made: `python -m control_plane provision --tenant {name} …`.",
            )
        entry.update(limits.values())
        hard = {**(entry.get("quota") or {}), **quota}
        hard = {key: quantity for key, quantity in hard.items() if quantity != "none"}
        if hard or quota:
            entry["quota"] = hard
        return self.with_tenant(entry)

    def _with(self, entries: Sequence[Values]) -> Values:
        return {**deepcopy(self.values), "tenants": deepcopy(list(entries))}


def require_room(release: Release, wish: Wish) -> None:
    """Refuse a place that is, or would be, somebody else's too.

    Raises:
        Conflict: the namespace is taken, or the storage lies inside another tenant's, or around it.
    """
    if wish.namespace == release.namespace:
        raise Conflict(
            f"{wish.namespace} is the release's own namespace, where drivers could read the platform's Secrets.",
            "Give another --tenant-namespace.",
        )
    for other in release.tenants:
        if other["name"] == wish.name:
            continue
        if other["namespace"] == wish.namespace:
            raise Conflict(f"{wish.namespace} is the namespace of tenant {other['name']!r}.", "Give another --tenant-namespace.")
        theirs = str(other["prefix"])
        if other["bucket"] == wish.bucket and (theirs.startswith(wish.prefix) or wish.prefix.startswith(theirs)):
            raise Conflict(
                f"s3://{wish.bucket}/{wish.prefix} and s3://{wish.bucket}/{theirs} of tenant {other['name']!r} lie inside one another.",
                "Give a --prefix, or a --bucket, of its own.",
            )


def require_same(entry: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Refuse to make a tenant that is there with other facts. `entry` is complete; only what `wanted` names is compared.

    Raises:
        Conflict: something differs; where data lies never changes, the rest is changed by `limit`.
    """
    fixed = [name for name in ("bucket", "prefix", "namespace") if entry[name] != wanted[name]]
    if fixed:
        words = ", ".join(f"{name} {entry[name]!r}, not {wanted[name]!r}" for name in fixed)
        raise Conflict(
            f"The tenant {entry['name']} is there with {words}.", "A tenant's storage and namespace do not move; make one of another name."
        )
    other = [name for name, value in wanted.items() if name not in ("apiKey", "s3", "createNamespace") and entry.get(name) != value]
    if other:
        words = ", ".join(f"{name} {entry.get(name)!r}, not {wanted[name]!r}" for name in other)
        raise Conflict(
            f"The tenant {entry['name']} is there with {words}.",
            f"Change limits and quota with `stratum tenants limit {entry['name']}`, the rest in the values of the release.",
        )
