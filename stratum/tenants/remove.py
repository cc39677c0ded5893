"""`remove`: keys end first, then rights, then the store's user and the Secrets. Data stays. Every step may be repeated."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, cast, get_args

from contracts.errors import ContractError
from contracts.layout import StorageRoot
from stratum.errors import Conflict, Invalid
from stratum.tenants import manifests, storage_keys
from stratum.tenants.manifests import Names
from stratum.tenants.site import Site
from stratum.tenants.storage_keys import Kind, Source


@dataclass(frozen=True, slots=True)
class Leaving:
    """A tenant that is to be removed, found in the values, or in what an interrupted removal left."""

    names: Names
    root: StorageRoot
    source: Source | None
    in_values: bool


@dataclass(frozen=True, slots=True)
class Removed:
    """What was done, and where the data lies."""

    tenant: str
    data: str
    namespace: str
    namespace_deleted: bool
    keys_ended: int
    storage_user: str | None


def find(site: Site, name: str) -> Leaving:
    """The tenant as it is, before anybody is asked.

    Raises:
        NotFound: neither the values nor a Secret of ours know it.
    """
    of = Names(site.release.name, site.release.namespace, name, "")
    found = site.kubectl.get("secret", of.api_key_secret, of.release_namespace)
    record: Mapping[str, str] = {}
    if found is not None and (found["metadata"].get("labels") or {}).get(manifests.TENANT) == name:
        record = found["metadata"].get("annotations") or {}
    if not site.release.has(name) and record.get(manifests.PLACE):
        return Leaving(
            Names(of.release, of.release_namespace, name, record[manifests.PLACE]), _root(record), _source(record), in_values=False
        )
    site.release.require_named(name)
    entry = site.release.tenant(name)
    names = Names(of.release, of.release_namespace, name, entry["namespace"])
    return Leaving(names, StorageRoot(entry["bucket"], entry["prefix"]), _source(record), in_values=True)


def remove(site: Site, leaving: Leaving, *, force: bool, delete_namespace: bool) -> Removed:
    """Take a tenant away.

    Raises:
        Conflict: processes have not ended, and it is not forced.
        StratumError: it stopped on the way; the next call goes on.
    """
    of = leaving.names
    without = site.release.without_tenant(of.tenant)
    site.require_chart()
    if leaving.in_values:
        site.rehearse(without)
    if delete_namespace:
        _require_deletable(site, of)
    source = leaving.source if leaving.source is not None and leaving.source.makes_users else None
    with ExitStack() as stack:
        # opened before anything is ended: that the store's administrator is not found is better known now
        users = stack.enter_context(storage_keys.users(source, site.release, site.kubectl)) if source else None
        site.tell("ending its API keys")
        ended = _close(site, of, known=leaving.source is not None, force=force)
        site.upgrade(without)  # also when the values are without it, and the upgrade that took it out was cut off
        if users is not None:
            site.tell(f"removing the user {of.storage_user} of the object store")
            users.remove(of.storage_user)
    _delete_ours(site, manifests.STORAGE_SECRET, of.namespace, of.tenant)
    if delete_namespace:
        site.kubectl.delete("namespace", of.namespace)
    # last: it is what an interrupted removal is known by
    _delete_ours(site, of.api_key_secret, of.release_namespace, of.tenant)
    return Removed(of.tenant, leaving.root.uri, of.namespace, delete_namespace, ended, of.storage_user if source else None)


def _close(site: Site, of: Names, *, known: bool, force: bool) -> int:
    """Marked before: a key that was perhaps ended is never taken for a good one by a later `create`."""
    if not known:
        return site.close(of.tenant, force=force)
    site.kubectl.annotate("secret", of.api_key_secret, of.release_namespace, {manifests.CLOSING: "true"})
    try:
        return site.close(of.tenant, force=force)
    except Conflict:
        site.kubectl.annotate("secret", of.api_key_secret, of.release_namespace, {manifests.CLOSING: None})
        raise


def _delete_ours(site: Site, name: str, namespace: str, tenant: str) -> None:
    found = site.kubectl.get("secret", name, namespace)
    labels: dict[str, Any] = ((found or {}).get("metadata", {})).get("labels") or {}
    if (labels.get(manifests.MANAGED_BY), labels.get(manifests.TENANT)) == (manifests.OURS, tenant):
        site.kubectl.delete("secret", name, namespace)


def _require_deletable(site: Site, of: Names) -> None:
    """Only a namespace that says it is this tenant's: everything in it goes."""
    found = site.kubectl.get("namespace", of.namespace)
    if found is not None and (found["metadata"].get("labels") or {}).get(manifests.TENANT) != of.tenant:
        raise Conflict(
            f"The namespace {of.namespace} has no label {manifests.TENANT}={of.tenant}: other things may lie there.",
            f"Leave out --delete-namespace; `kubectl delete namespace {of.namespace}` deletes it.",
        )


def _root(record: Mapping[str, str]) -> StorageRoot:
    try:
        return StorageRoot.parse(record.get(manifests.STORED, ""))
    except ContractError as error:
        raise Invalid(f"The annotation {manifests.STORED} of the tenant's Secret is broken: {error}.") from error


def _source(record: Mapping[str, str]) -> Source | None:
    kind = record.get(manifests.KEYS_FROM)
    if kind not in get_args(Kind):
        return None
    return Source(cast(Kind, kind), admin_secret=record.get(manifests.ADMIN_SECRET), admin_endpoint=record.get(manifests.ADMIN_ENDPOINT))
