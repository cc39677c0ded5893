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
_REFUSED = ("AccessDenied", "AccessDeniedException", "InvalidClientTokenId", "SignatureDoesNotMatch", "ExpiredToken")


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
            changed = self._ensure_user(user)
            if self._policy(user) != policy:
                self._iam.put_user_policy(UserName=user, PolicyName=_POLICY, PolicyDocument=json.dumps(policy))
                changed = True
            there = self._access_keys(user)
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
            found = _or_none(lambda: self._iam.get_user(UserName=user))
            if found is None:
                return False
            self._require_ours(found["User"])
            for key in self._access_keys(user):
                self._iam.delete_access_key(UserName=user, AccessKeyId=key)
            _or_none(lambda: self._iam.delete_user_policy(UserName=user, PolicyName=_POLICY))
            self._iam.delete_user(UserName=user)
        return True

    def _ensure_user(self, user: str) -> bool:
        found = _or_none(lambda: self._iam.get_user(UserName=user))
        if found is None:
            self._iam.create_user(UserName=user, Path=_PATH)
            return True
        self._require_ours(found["User"])
        return False

    def _require_ours(self, user: dict[str, Any]) -> None:
        """A user that somebody else made keeps its keys and policies."""
        if user.get("Path") != _PATH:
            raise Conflict(
                f"There is an IAM user {user['UserName']} that Stratum did not make: its path is {user.get('Path')}, not {_PATH}.",
                "Rename it, or make the tenant's keys yourself: --s3-credentials existing:SECRET.",
            )

    def _policy(self, user: str) -> Policy | None:
        found = _or_none(lambda: self._iam.get_user_policy(UserName=user, PolicyName=_POLICY))
        if found is None:
            return None
        document = found["PolicyDocument"]
        return dict(json.loads(document) if isinstance(document, str) else document)

    def _access_keys(self, user: str) -> list[str]:
        return [each["AccessKeyId"] for each in self._iam.list_access_keys(UserName=user)["AccessKeyMetadata"]]


def _or_none(request: Callable[[], Any]) -> Any:
    try:
        return request()
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchEntity":
            raise
        return None


@contextmanager
def _told() -> Iterator[None]:
    """boto3's errors as ours."""
    try:
        yield
    except ClientError as error:
        code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
        if code in _REFUSED:
            raise Forbidden(
                f"IAM refuses {error.operation_name}: {message or code}",
                "Act with credentials that may manage users under the path /stratum/; `aws sts get-caller-identity` tells who you are.",
            ) from error
        raise ServerFault(f"IAM answered {error.operation_name} with {code}: {message}") from error
    except BotoCoreError as error:
        raise Unavailable(
            f"IAM is not reached: {error}", "boto3 reads AWS_PROFILE, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_DEFAULT_REGION."
        ) from error
