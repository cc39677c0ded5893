"""Users of AWS IAM, or of a store that speaks its language. IAM makes the keys itself, and tells the secret one once."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from stratum.errors import Conflict, Forbidden, ServerFault, Unavailable
from stratum.tenants.storage_user import Keep, Policy, StorageKeys

_POLICY = "stratum-runs"
_PATH = "/stratum/"
_REFUSED = (401, 403)


class IamUsers:
    """IAM, with the credentials that boto3 finds: the environment, a profile, a role."""

    def __init__(self, client: Any = None) -> None:
        self._client = client

    @property
    def _iam(self) -> Any:
        if self._client is None:
            with _told():
                self._client = boto3.client("iam")
        return self._client

    def ensure(self, user: str, policy: Policy, kept: StorageKeys | None, keep: Keep) -> bool:
        """See `StorageUsers`. Keys that are not kept are deleted first: IAM allows two, and nobody knows their secret."""
        with _told():
            changed = not self._exists(user)
            if changed:
                self._iam.create_user(UserName=user, Path=_PATH)
            there = self._access_keys(user)
            before = self._policy(user)
            _require_ours(user, before, there)
            if before != policy:
                self._iam.put_user_policy(UserName=user, PolicyName=_POLICY, PolicyDocument=json.dumps(policy))
                changed = True
            for key in there:
                if kept is None or key != kept.access_key:
                    self._iam.delete_access_key(UserName=user, AccessKeyId=key)
                    changed = True
            if kept is not None and kept.access_key in there:
                return changed
            made = self._iam.create_access_key(UserName=user)["AccessKey"]
        keep(StorageKeys(made["AccessKeyId"], made["SecretAccessKey"]))
        return True

    def remove(self, user: str) -> bool:
        """See `StorageUsers`."""
        with _told():
            if not self._exists(user):
                return False
            there = self._access_keys(user)
            _require_ours(user, self._policy(user), there)
            for key in there:
                self._iam.delete_access_key(UserName=user, AccessKeyId=key)
            _or_none(lambda: self._iam.delete_user_policy(UserName=user, PolicyName=_POLICY))
            self._iam.delete_user(UserName=user)
        return True

    def _exists(self, user: str) -> bool:
        return _or_none(lambda: self._iam.get_user(UserName=user)) is not None

    def _policy(self, user: str) -> Policy | None:
        found = _or_none(lambda: self._iam.get_user_policy(UserName=user, PolicyName=_POLICY))
        if found is None:
            return None
        document = found["PolicyDocument"]
        return dict(json.loads(document) if isinstance(document, str) else document)

    def _access_keys(self, user: str) -> list[str]:
        return [each["AccessKeyId"] for each in self._iam.list_access_keys(UserName=user)["AccessKeyMetadata"]]


def _require_ours(user: str, policy: Policy | None, keys: list[str]) -> None:
    """A user that somebody else made keeps its keys: ours have our policy before they have any."""
    if policy is None and keys:
        raise Conflict(
            f"There is an IAM user {user} with keys and without the policy {_POLICY}: Stratum did not make it.",
            "Rename it, or make the tenant's keys yourself: --s3-credentials existing:SECRET.",
        )


def _or_none(request: Callable[[], Any]) -> Any:
    try:
        return request()
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") != "NoSuchEntity":
            raise
        return None


@contextmanager
def _told() -> Iterator[None]:
    """boto3's errors as ours."""
    try:
        yield
    except ClientError as error:
        said = error.response.get("Error", {})
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        code, message = said.get("Code") or str(status), said.get("Message", "")
        if status in _REFUSED:
            raise Forbidden(
                f"IAM refuses {error.operation_name}: {message or code}",
                "Act with credentials that may manage users under the path /stratum/; `aws sts get-caller-identity` tells who you are.",
            ) from error
        raise ServerFault(f"IAM answered {error.operation_name} with {code}: {message}") from error
    except BotoCoreError as error:
        raise Unavailable(
            f"IAM is not reached: {error}", "boto3 reads AWS_PROFILE, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_DEFAULT_REGION."
        ) from error
