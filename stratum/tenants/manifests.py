"""Objects that the chart refers to and does not make: a tenant's namespace, and the Secrets with its keys."""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stratum.tenants.values import Release
from stratum.tenants.wish import Wish

Manifest = dict[str, Any]

TENANT = "stratum.dev/tenant"
RELEASE = "stratum.dev/release"
STORED = "stratum.dev/storage"
PLACE = "stratum.dev/tenant-namespace"
KEYS_FROM = "stratum.dev/s3-credentials"
KEYS_USER = "stratum.dev/s3-user"
ADMIN_SECRET = "stratum.dev/s3-admin-secret"  # noqa: S105  # the name of an annotation
ADMIN_ENDPOINT = "stratum.dev/s3-admin-endpoint"
CLOSING = "stratum.dev/closing"
MANAGED_BY = "app.kubernetes.io/managed-by"
OURS = "stratum-tenants"

API_KEY, ACCESS_KEY, SECRET_KEY = "api-key", "access-key", "secret-key"
STORAGE_SECRET = "stratum-storage"  # noqa: S105  # the name of a Secret
_RESTRICTED = "restricted"
_LONGEST_USER = 64


@dataclass(frozen=True, slots=True)
class Names:
    """What the objects of a tenant are called."""

    release: str
    release_namespace: str
    tenant: str
    namespace: str

    @property
    def api_key_secret(self) -> str:
        """The Secret in the release's namespace; beside the key, it keeps what `remove` must know."""
        return f"{self.release}-tenant-{self.tenant}"

    @property
    def storage_user(self) -> str:
        """The tenant's user of the object store, which two releases may share. No two tenants have one: neither namespaces nor
        tenants have a '.' in their names, and a name that must be shortened ends with its hash.
        """
        name = f"{self.release_namespace}.{self.release}.{self.tenant}"
        if len(name) <= _LONGEST_USER:
            return name
        digest = hashlib.sha256(name.encode()).hexdigest()[:16]
        return f"{name[: _LONGEST_USER - 17]}-{digest}"

    @property
    def labels(self) -> dict[str, str]:
        """By which our objects are known again."""
        return {MANAGED_BY: OURS, RELEASE: self.release, TENANT: self.tenant}


def names(release: Release, wish: Wish) -> Names:
    """The names of a tenant that is to be made."""
    return Names(release.name, release.namespace, wish.name, wish.namespace)


def namespace_manifest(of: Names) -> Manifest:
    """The tenant's namespace, under Pod Security `restricted`."""
    security = {f"pod-security.kubernetes.io/{mode}": _RESTRICTED for mode in ("enforce", "warn")}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": of.namespace, "labels": {**of.labels, **security}}}


def api_key_manifest(of: Names, key: str, record: Mapping[str, str]) -> Manifest:
    """The Secret with the API key of the tenant's administrator, in the release's namespace."""
    return _secret(of, of.api_key_secret, of.release_namespace, {API_KEY: key}, record)


def storage_keys_manifest(of: Names, access_key: str, secret_key: str, record: Mapping[str, str]) -> Manifest:
    """The Secret with the storage keys of the tenant's runs, in its own namespace."""
    return _secret(of, STORAGE_SECRET, of.namespace, {ACCESS_KEY: access_key, SECRET_KEY: secret_key}, record)


def _secret(of: Names, name: str, namespace: str, data: Mapping[str, str], annotations: Mapping[str, str]) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace, "labels": of.labels, "annotations": dict(annotations)},
        "type": "Opaque",
        # not `stringData`: what a server-side apply took over of that is not compared with what lies there
        "data": {key: base64.b64encode(text.encode()).decode() for key, text in data.items()},
    }


def record(
    wish: Wish, kind: str, user: str | None = None, admin_secret: str | None = None, admin_endpoint: str | None = None
) -> dict[str, str]:
    """What is written beside the API key, so that `remove` finds everything, even when it was interrupted."""
    known = {STORED: wish.root.uri, PLACE: wish.namespace, KEYS_FROM: kind, KEYS_USER: user, ADMIN_SECRET: admin_secret}
    return {name: value for name, value in {**known, ADMIN_ENDPOINT: admin_endpoint}.items() if value}


def entry(of: Names, wish: Wish, storage_secret: str) -> Manifest:
    """The tenant as an item of `tenants` in the chart's values. No secret is in it."""
    return {
        "name": wish.name,
        "bucket": wish.bucket,
        "prefix": wish.prefix,
        "namespace": wish.namespace,
        # the storage keys must be there before the chart is upgraded, and so must the namespace they lie in
        "createNamespace": False,
        "apiKey": {"existingSecret": {"name": of.api_key_secret, "key": API_KEY}},
        "s3": {"existingSecret": {"name": storage_secret, "accessKeyKey": ACCESS_KEY, "secretKeyKey": SECRET_KEY}},
        **wish.named_values(),
    }
