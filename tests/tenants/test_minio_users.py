"""A tenant's user of a real MinIO: what its keys can do, and that a second call, or one after a crash, leaves one pair of them."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from contracts.bucket_policy import runs_policy
from contracts.layout import StorageRoot
from stratum.errors import Forbidden, Unavailable
from stratum.tenants.minio_users import MinioUsers
from stratum.tenants.storage_user import StorageKeys
from tests.tenants import minio_server
from tests.tenants.minio_server import MinioServer, denied

pytestmark = pytest.mark.skipif(shutil.which(minio_server.BINARY) is None, reason="no minio on the PATH")

BUCKET = "lake"
USER = "stratum.stratum.acme"
POLICY = runs_policy(StorageRoot(BUCKET, "acme/"))


@pytest.fixture(scope="module")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioServer]:
    with minio_server.running(tmp_path_factory.mktemp("minio")) as server:
        server.s3(server.admin).create_bucket(Bucket=BUCKET)
        yield server


class Kept:
    """The place where runs find their keys."""

    def __init__(self) -> None:
        self.keys: StorageKeys | None = None
        self.times = 0

    def __call__(self, keys: StorageKeys) -> None:
        self.keys = keys
        self.times += 1


@pytest.fixture
def users(minio: MinioServer) -> Iterator[MinioUsers]:
    users = MinioUsers(minio.endpoint, minio.admin)
    yield users
    users.remove(USER)


def test_its_keys_end_at_its_prefix(minio: MinioServer, users: MinioUsers) -> None:
    kept = Kept()
    assert users.ensure(USER, POLICY, None, kept)
    assert kept.keys is not None
    minio.s3(minio.admin).put_object(Bucket=BUCKET, Key="globex/e/v/d/run/part-0.parquet", Body=b"theirs")
    s3 = minio.s3(kept.keys)
    own = {"Bucket": BUCKET, "Key": "acme/e/v/d/run/part-0.parquet"}
    s3.put_object(**own, Body=b"ours")
    assert s3.get_object(**own)["Body"].read() == b"ours"
    assert s3.list_objects_v2(Bucket=BUCKET, Prefix="acme/")["KeyCount"] == 1
    assert denied(lambda: s3.get_object(Bucket=BUCKET, Key="globex/e/v/d/run/part-0.parquet"))
    assert denied(lambda: s3.put_object(Bucket=BUCKET, Key="globex/e/v/d/run/part-1.parquet", Body=b"1"))
    assert denied(lambda: s3.list_objects_v2(Bucket=BUCKET, Prefix="globex/"))
    assert denied(lambda: s3.list_objects_v2(Bucket=BUCKET))
    assert denied(lambda: s3.put_object(Bucket=BUCKET, Key="acme/e/v/d/_manifest.json", Body=b"1"))
    assert denied(lambda: s3.delete_object(**own))


def test_again_changes_nothing(users: MinioUsers) -> None:
    kept = Kept()
    users.ensure(USER, POLICY, None, kept)
    assert not users.ensure(USER, POLICY, kept.keys, kept)
    assert kept.times == 1


def test_another_policy_takes_the_place_of_the_old_one(minio: MinioServer, users: MinioUsers) -> None:
    kept = Kept()
    users.ensure(USER, POLICY, None, kept)
    assert users.ensure(USER, runs_policy(StorageRoot(BUCKET, "moved/")), kept.keys, kept)
    assert kept.keys is not None
    assert kept.times == 1
    s3 = minio.s3(kept.keys)
    s3.put_object(Bucket=BUCKET, Key="moved/e/v/d/run/part-0.parquet", Body=b"1")
    assert denied(lambda: s3.put_object(Bucket=BUCKET, Key="acme/e/v/d/run/part-0.parquet", Body=b"1"))


def test_a_crash_before_the_keys_were_kept_leaves_none(minio: MinioServer, users: MinioUsers) -> None:
    def crash(keys: StorageKeys) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        users.ensure(USER, POLICY, None, crash)
    assert not users.remove(USER), "the store knew of nothing"


def test_a_crash_after_the_keys_were_kept_is_mended_with_them(minio: MinioServer, users: MinioUsers) -> None:
    keys = StorageKeys(USER, "kept-before-the-store-knew")
    kept = Kept()
    assert users.ensure(USER, POLICY, keys, kept)
    assert kept.times == 0
    minio.s3(keys).put_object(Bucket=BUCKET, Key="acme/e/v/d/run/part-2.parquet", Body=b"1")


def test_new_keys_end_the_old_ones(minio: MinioServer, users: MinioUsers) -> None:
    first, second = Kept(), Kept()
    users.ensure(USER, POLICY, None, first)
    users.ensure(USER, POLICY, None, second)
    assert first.keys is not None
    old = minio.s3(first.keys)
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        old.list_objects_v2(Bucket=BUCKET, Prefix="acme/")


def test_removed(minio: MinioServer, users: MinioUsers) -> None:
    kept = Kept()
    users.ensure(USER, POLICY, None, kept)
    assert kept.keys is not None
    assert users.remove(USER)
    assert not users.remove(USER)
    s3 = minio.s3(kept.keys)
    assert denied(lambda: s3.list_objects_v2(Bucket=BUCKET, Prefix="acme/"))


def test_what_goes_wrong_is_said(minio: MinioServer, tmp_path: Path) -> None:
    with pytest.raises(Forbidden, match="--s3-admin-secret"):
        MinioUsers(minio.endpoint, StorageKeys("administrator", "wrong-secret")).ensure(USER, POLICY, None, Kept())
    with pytest.raises(Unavailable, match="--s3-admin-endpoint"):
        MinioUsers("http://127.0.0.1:9", minio.admin).ensure(USER, POLICY, None, Kept())
