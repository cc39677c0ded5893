"""Where a tenant's storage keys come from: a MinIO, IAM, a Secret that is there, or a file."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from stratum.errors import Invalid, MissingExtra
from stratum.tenants.kubectl import Kubectl, require_secret
from stratum.tenants.manifests import ACCESS_KEY, SECRET_KEY, STORAGE_SECRET
from stratum.tenants.storage_user import StorageKeys, StorageUsers
from stratum.tenants.values import Release

Kind = Literal["minio", "aws", "existing", "given"]
CHOICES = "minio, aws, existing:SECRET or given"
_DEV_PORT = 9000


@dataclass(frozen=True, slots=True)
class Source:
    """The choice of `--s3-credentials`, with what belongs to it.

    Attributes:
        kind: who makes the keys.
        secret: with `existing`, the Secret in the tenant's namespace.
        admin_secret, admin_endpoint: with `minio`, the Secret with an administrator's keys, and the address; None: the chart's own.
        keys: with `given`, the keys.
    """

    kind: Kind
    secret: str = STORAGE_SECRET
    admin_secret: str | None = None
    admin_endpoint: str | None = None
    keys: StorageKeys | None = None

    @property
    def makes_users(self) -> bool:
        """Whether the store is asked for a user."""
        return self.kind in ("minio", "aws")


def source(choice: str | None, is_dev: bool, admin_secret: str | None, admin_endpoint: str | None, given: StorageKeys | None) -> Source:
    """What `--s3-credentials` says; left out, the store that comes with `dev.enabled`.

    Raises:
        Invalid: nothing is said, or something that there is not, or half of it.
    """
    if choice is None:
        if not is_dev:
            raise Invalid(
                "It is not said where the tenant's storage keys come from.",
                f"Give --s3-credentials: {CHOICES}. minio and aws make a user whose policy ends at the tenant's prefix.",
            )
        choice = "minio"
    kind, colon, secret = choice.partition(":")
    if (given is not None) is not (kind == "given"):
        raise Invalid("--s3-access-key and --s3-secret-key-file belong to --s3-credentials given, and it needs both.")
    match kind, bool(colon and secret):
        case "minio", False if not colon:
            return Source("minio", admin_secret=admin_secret, admin_endpoint=admin_endpoint)
        case "aws", False if not colon:
            return Source("aws")
        case "given", False if not colon:
            return Source("given", keys=given)
        case "existing", True:
            return Source("existing", secret)
        case _:
            raise Invalid(f"--s3-credentials {choice!r} is not known.", f"Give one of: {CHOICES}.")


@contextmanager
def users(of: Source, release: Release, kubectl: Kubectl) -> Iterator[StorageUsers]:
    """The store's users, inside the block.

    Raises:
        MissingExtra: the library for it is not installed.
        StratumError: the administrator's keys are not there.
    """
    if of.kind == "aws":
        from stratum.tenants.iam_users import IamUsers

        yield IamUsers()
        return
    try:
        from stratum.tenants.minio_users import MinioUsers
    except ModuleNotFoundError as error:
        raise MissingExtra("tenants") from error
    admin = _admin_keys(of, release, kubectl)
    region = str(release.s3.get("region") or "us-east-1")
    if of.admin_endpoint is None and release.is_dev:
        with kubectl.forwarded(release.namespace, f"{release.fullname}-minio", _DEV_PORT) as port:
            yield MinioUsers(f"http://127.0.0.1:{port}", admin, region)
        return
    endpoint = of.admin_endpoint or release.s3.get("publicEndpoint") or release.s3.get("endpoint")
    if not endpoint:
        raise Invalid("The values of the release name no store.", "Give its address: --s3-admin-endpoint.")
    yield MinioUsers(str(endpoint), admin, region)


def _admin_keys(of: Source, release: Release, kubectl: Kubectl) -> StorageKeys:
    name = of.admin_secret or (f"{release.fullname}-s3" if release.is_dev else None)
    if name is None:
        raise Invalid(
            "It is not said with which keys users of the MinIO are managed.",
            f"Give --s3-admin-secret: a Secret in {release.namespace} with {ACCESS_KEY} and {SECRET_KEY} of an administrator.",
        )
    texts = require_secret(kubectl.texts(name, release.namespace), name, release.namespace, ACCESS_KEY, SECRET_KEY)
    return StorageKeys(texts[ACCESS_KEY], texts[SECRET_KEY])
