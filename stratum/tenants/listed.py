"""Tenants of a release as they are shown."""

from typing import Any

from stratum.tenants import manifests
from stratum.tenants.kubectl import Kubectl
from stratum.tenants.manifests import Names
from stratum.tenants.values import Release, Values
from stratum.tenants.wish import LIMITS

Document = dict[str, Any]


def tenants(release: Release) -> list[Document]:
    """What the values say of every tenant."""
    return [tenant(release, entry) for entry in release.tenants]


def tenant(release: Release, entry: Values) -> Document:
    """What the values say of one. A limit of None: they do not say; the control plane keeps what was set before."""
    return {
        "name": entry["name"],
        "namespace": entry["namespace"],
        "bucket": entry["bucket"],
        "prefix": entry["prefix"],
        "max_in_flight": entry["maxInFlight"],
        **{name: entry.get(values_name) for name, values_name in LIMITS.items()},
        "quota": entry["quota"],
        "queue": entry.get("queue") or None,
        "priority_class": entry.get("priorityClass") or None,
        "allowed_images": entry.get("allowedImages"),
        "from": "values" if release.has(entry["name"]) else "dev.enabled",
    }


def state(release: Release, entry: Values, kubectl: Kubectl) -> Document:
    """What of a tenant is on the cluster: whether its namespace and Secrets are there, and who made its storage keys. Never a key."""
    of = Names(release.name, release.namespace, entry["name"], entry["namespace"])
    api_key = ((entry.get("apiKey") or {}).get("existingSecret") or {}).get("name")
    storage = ((entry.get("s3") or {}).get("existingSecret") or {}).get("name") or "stratum-s3"
    key_secret = kubectl.get("secret", api_key, of.release_namespace) if api_key else None
    record = ((key_secret or {}).get("metadata", {})).get("annotations") or {}
    return {
        "namespace_exists": kubectl.get("namespace", of.namespace) is not None,
        "api_key_secret": api_key,
        "api_key_exists": key_secret is not None,
        "s3_secret": storage,
        "s3_secret_exists": kubectl.get("secret", storage, of.namespace) is not None,
        "s3_credentials": record.get(manifests.KEYS_FROM),
        "s3_user": record.get(manifests.KEYS_USER),
        "closing": manifests.CLOSING in record,
    }
