"""`create`: what the chart only refers to is made first, then the release is upgraded. Every step may be repeated."""

import secrets
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from contracts.bucket_policy import runs_policy
from stratum.errors import Conflict
from stratum.tenants import manifests, storage_keys, values
from stratum.tenants.kubectl import require_secret
from stratum.tenants.manifests import ACCESS_KEY, API_KEY, SECRET_KEY, Names
from stratum.tenants.site import Site
from stratum.tenants.storage_keys import Source
from stratum.tenants.storage_user import StorageKeys, StorageUsers
from stratum.tenants.wish import Wish

_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Created:
    """A tenant that is there now. `changed`: whether this call did any of it."""

    entry: dict[str, Any]
    names: Names
    storage_secret: str
    storage_user: str | None
    changed: bool


def create(site: Site, wish: Wish, source: Source) -> Created:
    """Make a tenant of a release, or what is missing of it.

    Raises:
        StratumError: it cannot be made; what was made until then is found again by the next call.
    """
    of = manifests.names(site.release, wish)
    values.require_room(site.release, wish)
    wanted = manifests.entry(of, wish, source.secret)
    if site.release.has(wish.name):
        entry = site.release.tenant(wish.name)
        values.require_same(entry, wanted)
        _require_ours(entry, wanted)
        changed_values = site.release.values
    else:
        entry = wanted
        changed_values = site.release.with_tenant(wanted)
    site.require_chart()
    if changed_values != site.release.values:
        site.rehearse(changed_values)
        site.check_storage(wish.name, wish.bucket, wish.prefix)
    _require_source(site, of, source)
    with ExitStack() as stack:
        # opened before anything is made: that the store's administrator is not found is better known now
        users = stack.enter_context(storage_keys.users(source, site.release, site.kubectl)) if source.makes_users else None
        changed = _ensure_namespace(site, of)
        is_new_key = _ensure_api_key(site, of, wish, source)
        changed |= _ensure_storage_keys(site, of, wish, source, users)
    # the upgrade is what tells the control plane of a key
    changed |= site.upgrade(changed_values, always=is_new_key)
    return Created(entry, of, source.secret, of.storage_user if users else None, changed)


def _require_source(site: Site, of: Names, source: Source) -> None:
    """Refuse keys that are not there, or another origin than the tenant's keys have."""
    if source.kind == "existing":
        require_secret(site.kubectl.texts(source.secret, of.namespace), source.secret, of.namespace, ACCESS_KEY, SECRET_KEY)
    found = site.kubectl.get("secret", of.api_key_secret, of.release_namespace)
    before = ((found or {}).get("metadata", {}).get("annotations") or {}).get(manifests.KEYS_FROM)
    if before not in (None, source.kind):
        raise Conflict(
            f"The storage keys of {of.tenant} come from {before!r}, not {source.kind!r}.",
            f"Give --s3-credentials {before}, or remove the tenant first: its data stays.",
        )


def _require_ours(entry: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Refuse to complete a tenant whose Secrets somebody else named."""
    for name in ("apiKey", "s3"):
        theirs, ours = ((each.get(name) or {}).get("existingSecret", {}).get("name") for each in (entry, wanted))
        if theirs != ours:
            raise Conflict(
                f"The tenant {entry['name']} is there, and its `{name}` is {theirs or 'no Secret'}, not {ours}, which this command makes.",
                "Keep it as it is in the values; `stratum tenants limit` changes its limits.",
            )


def _ensure_namespace(site: Site, of: Names) -> bool:
    wanted = manifests.namespace_manifest(of)
    found = site.kubectl.get("namespace", of.namespace)
    if found is not None:
        labels = found["metadata"].get("labels") or {}
        theirs = labels.get(manifests.TENANT, of.tenant), labels.get(manifests.RELEASE, of.release)
        if theirs != (of.tenant, of.release):
            raise Conflict(
                f"The namespace {of.namespace} is that of tenant {theirs[0]!r} of the release {theirs[1]!r}.",
                "Give another --tenant-namespace.",
            )
        if found["status"].get("phase") == "Terminating":
            raise Conflict(f"The namespace {of.namespace} is being deleted.", "Wait until it is gone, and run the command again.")
        if wanted["metadata"]["labels"].items() <= labels.items():
            return False
    site.tell(f"making the namespace {of.namespace}")
    site.kubectl.apply(wanted)
    return True


def _ensure_api_key(site: Site, of: Names, wish: Wish, source: Source) -> bool:
    """Says whether the key is a new one."""
    record = manifests.record(
        wish, source.kind, of.storage_user if source.makes_users else None, source.admin_secret, source.admin_endpoint
    )
    found = site.kubectl.get("secret", of.api_key_secret, of.release_namespace)
    if found is not None:
        _require_label(found, of)
        annotations = found["metadata"].get("annotations") or {}
        # a removal that was cut off has perhaps ended this key: a new one is made
        if manifests.CLOSING not in annotations and (found.get("data") or {}).get(API_KEY):
            if not record.items() <= annotations.items():
                site.kubectl.annotate("secret", of.api_key_secret, of.release_namespace, record)
            return False
    site.tell("making an API key")
    site.kubectl.apply(manifests.api_key_manifest(of, f"stratum_{secrets.token_urlsafe(_KEY_BYTES)}", record))
    if found is not None:
        site.kubectl.annotate("secret", of.api_key_secret, of.release_namespace, {manifests.CLOSING: None})
    return True


def _ensure_storage_keys(site: Site, of: Names, wish: Wish, source: Source, users: StorageUsers | None) -> bool:
    if source.kind == "existing":
        return False
    found = site.kubectl.get("secret", source.secret, of.namespace)
    if found is not None:
        _require_label(found, of)
    texts = site.kubectl.texts(source.secret, of.namespace) or {}
    kept = StorageKeys(texts[ACCESS_KEY], texts[SECRET_KEY]) if texts.get(ACCESS_KEY) and texts.get(SECRET_KEY) else None

    def keep(keys: StorageKeys) -> None:
        site.kubectl.apply(manifests.storage_keys_manifest(of, keys.access_key, keys.secret_key, {manifests.KEYS_FROM: source.kind}))

    if users is not None:
        site.tell(f"looking after the user {of.storage_user} of the object store")
        return users.ensure(of.storage_user, runs_policy(wish.root), kept, keep)
    if source.keys is None or source.keys == kept:
        return False
    keep(source.keys)
    return True


def _require_label(found: dict[str, Any], of: Names) -> None:
    """Leave a Secret alone that somebody else made."""
    if (found["metadata"].get("labels") or {}).get(manifests.TENANT) != of.tenant:
        name, namespace = found["metadata"]["name"], found["metadata"]["namespace"]
        raise Conflict(
            f"There is a Secret {name} in the namespace {namespace} that these commands did not make for {of.tenant}.",
            "Rename or delete it; or name yours with --s3-credentials existing:SECRET.",
        )
