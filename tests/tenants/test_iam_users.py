"""A tenant's user by IAM's language, at a real store that speaks it: one pair of keys, whatever was cut off."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from contracts.bucket_policy import runs_policy
from contracts.layout import StorageRoot
from stratum.errors import Conflict, Forbidden
from stratum.local.seaweed import Seaweed
from stratum.tenants.iam_users import IamUsers
from stratum.tenants.storage_user import StorageKeys
from tests.tenants import iam_server

USER = "stratum.stratum.acme"
# this store does not know every action of the policy for runs; what that lets whom do is shown on a MinIO
POLICY = {
    "Version": "2012-10-17",
    "Statement": [each for each in runs_policy(StorageRoot("lake", "acme/"))["Statement"] if each["Sid"] == "ReadData"],
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    with iam_server.running(tmp_path_factory.mktemp("iam")) as server:
        yield server


@pytest.fixture
def iam(server: Seaweed) -> Iterator[Any]:
    iam = iam_server.client(server)
    yield iam
    IamUsers(iam).remove(USER)


class Kept:
    """The place where runs find their keys."""

    def __init__(self) -> None:
        self.all: list[StorageKeys] = []

    def __call__(self, keys: StorageKeys) -> None:
        self.all.append(keys)


def keys_of(iam: Any) -> list[str]:
    return [each["AccessKeyId"] for each in iam.list_access_keys(UserName=USER)["AccessKeyMetadata"]]


def test_one_user_with_one_pair_of_keys(iam: Any) -> None:
    kept = Kept()
    assert IamUsers(iam).ensure(USER, POLICY, None, kept)
    (keys,) = kept.all
    assert keys_of(iam) == [keys.access_key]
    IamUsers(iam).ensure(USER, POLICY, keys, kept)
    assert kept.all == [keys], "again: the same keys"
    assert keys_of(iam) == [keys.access_key]


def test_keys_that_nobody_kept_are_deleted(iam: Any) -> None:
    def crash(keys: StorageKeys) -> None:
        raise KeyboardInterrupt

    for _ in range(3):  # IAM allows two
        with pytest.raises(KeyboardInterrupt):
            IamUsers(iam).ensure(USER, POLICY, None, crash)
    assert len(keys_of(iam)) == 1
    kept = Kept()
    IamUsers(iam).ensure(USER, POLICY, None, kept)
    assert keys_of(iam) == [kept.all[0].access_key]


def test_a_second_pair_beside_the_kept_one_goes(iam: Any) -> None:
    kept = Kept()
    IamUsers(iam).ensure(USER, POLICY, None, kept)
    iam.create_access_key(UserName=USER)
    assert IamUsers(iam).ensure(USER, POLICY, kept.all[0], kept)
    assert keys_of(iam) == [kept.all[0].access_key]


def test_removed(iam: Any) -> None:
    IamUsers(iam).ensure(USER, POLICY, None, Kept())
    assert IamUsers(iam).remove(USER)
    assert not IamUsers(iam).remove(USER)
    assert USER not in [each["UserName"] for each in iam.list_users()["Users"]]


def test_a_user_of_somebody_else_keeps_its_keys(iam: Any) -> None:
    iam.create_user(UserName=USER)
    iam.create_access_key(UserName=USER)
    theirs = keys_of(iam)
    with pytest.raises(Conflict, match="did not make"):
        IamUsers(iam).ensure(USER, POLICY, None, Kept())
    with pytest.raises(Conflict, match="did not make"):
        IamUsers(iam).remove(USER)
    assert keys_of(iam) == theirs
    iam.delete_access_key(UserName=USER, AccessKeyId=theirs[0])


def test_refused_credentials_are_said(server: Seaweed) -> None:
    stranger = iam_server.client(replace(server, secret_key="wrong"))
    with pytest.raises(Forbidden, match="credentials that may manage users"):
        IamUsers(stranger).ensure(USER, POLICY, None, Kept())
