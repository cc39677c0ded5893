"""Users of a MinIO. Its own way of naming them: the access key is the user's name."""

import json
import os
import secrets
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import certifi
import urllib3
from minio import MinioAdmin
from minio.credentials.providers import StaticProvider
from minio.error import MinioAdminException

from stratum.errors import Forbidden, Invalid, ServerFault, Unavailable
from stratum.tenants.storage_user import Keep, Policy, StorageKeys

_SECRET_BYTES = 30
_UNKNOWN = ("XMinioAdminNoSuchUser", "XMinioAdminNoSuchPolicy")
_REFUSED = ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch")
_NO_CHANGE = "XMinioAdminPolicyChangeAlreadyApplied"


class MinioUsers:
    """The users of one MinIO, with the keys of an administrator."""

    def __init__(self, endpoint: str, admin: StorageKeys, region: str = "us-east-1") -> None:
        parts = urlsplit(endpoint)
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.path.strip("/"):
            raise Invalid(f"{endpoint!r} is no address of a MinIO.", "Give --s3-admin-endpoint such as https://minio.example.com.")
        self._endpoint = endpoint
        # its own client tries five times, five minutes each: longer than anybody waits for an address that is wrong
        http = urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=5, read=30),
            retries=urllib3.Retry(2, backoff_factor=0.2),
            cert_reqs="CERT_REQUIRED",
            ca_certs=os.environ.get("SSL_CERT_FILE") or certifi.where(),
        )
        self._admin = MinioAdmin(
            endpoint=parts.netloc,
            credentials=StaticProvider(admin.access_key, admin.secret_key),
            region=region,
            secure=parts.scheme == "https",
            http_client=http,
        )

    def ensure(self, user: str, policy: Policy, kept: StorageKeys | None, keep: Keep) -> bool:
        """See `StorageUsers`. The keys are kept first, then known to the store: keys that nobody keeps cannot be."""
        keys = kept
        if keys is None or keys.access_key != user:
            keys = StorageKeys(user, secrets.token_urlsafe(_SECRET_BYTES))
            keep(keys)
        changed = is_new = keys is not kept
        if _sorted(self._policy(user)) != _sorted(policy):
            self._ask(lambda: self._admin.policy_add(user, policy=dict(policy)))
            changed = True
        known = self._user(user)
        if known is None or is_new:
            self._ask(lambda: self._admin.user_add(keys.access_key, keys.secret_key))
            changed = True
        if known is None or known.get("policyName") != user:
            self._ask(lambda: self._admin.policy_set(user, user=user))
            changed = True
        return changed

    def remove(self, user: str) -> bool:
        """See `StorageUsers`."""
        was_there = self._ask(lambda: self._admin.user_remove(user)) is not None
        self._ask(lambda: self._admin.policy_remove(user))
        return was_there

    def _user(self, name: str) -> dict[str, Any] | None:
        text = self._ask(lambda: self._admin.user_info(name))
        return None if text is None else dict(json.loads(text))

    def _policy(self, name: str) -> Policy | None:
        text = self._ask(lambda: self._admin.policy_info(name))
        found = None if text is None else json.loads(text)
        return found.get("Policy", found) if found is not None else None

    def _ask(self, request: Callable[[], str]) -> str | None:
        """The answer; None when there is no such user or policy."""
        try:
            return request()
        except MinioAdminException as error:
            code = _code(error)
            if code in _UNKNOWN:
                return None
            if code == _NO_CHANGE:
                return ""
            if code in _REFUSED:
                raise Forbidden(
                    f"The MinIO at {self._endpoint} refuses the administrator's keys: {code}.",
                    "Name the Secret with keys that may manage users: --s3-admin-secret.",
                ) from error
            raise ServerFault(f"The MinIO at {self._endpoint} answered: {code or error}.") from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Unavailable(
                f"The MinIO at {self._endpoint} does not answer: {error}.", "Give its address as seen from here: --s3-admin-endpoint."
            ) from error


def _sorted(found: Any) -> Any:
    """A policy by which two can be compared: MinIO gives its lists back in an order of its own."""
    if isinstance(found, Mapping):
        return {key: _sorted(value) for key, value in found.items()}
    return sorted(map(_sorted, found), key=json.dumps) if isinstance(found, list) else found


def _code(error: MinioAdminException) -> str:
    try:
        return str(json.loads(error._body)["Code"])  # the library has no other way to it
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""
