"""The store's policies, on a real store: with the keys of runs one can fill run folders, and neither seal nor remove."""

import json
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from contracts.bucket_policy import control_plane_policy, runs_policy
from contracts.layout import StorageRoot
from tests.cluster.release import Release

pytestmark = pytest.mark.cluster

BUCKET = "policies"


@pytest.fixture(scope="module", params=["", "acme/"], ids=["bucket", "prefix"])
def root(release: Release, request: pytest.FixtureRequest) -> StorageRoot:
    """A root with one sealed dataset."""
    root = StorageRoot(BUCKET, request.param)
    if BUCKET not in (bucket["Name"] for bucket in release.s3.list_buckets()["Buckets"]):
        release.s3.create_bucket(Bucket=BUCKET)
    for key in ("e/v/sealed/_manifest.json", "e/v/sealed/run/part-0.parquet"):
        release.s3.put_object(Bucket=BUCKET, Key=root.prefix + key, Body=b"sealed")
    return root


class Keys:
    """Somebody's keys, and whether they may."""

    def __init__(self, release: Release, root: StorageRoot, policy: dict[str, Any]) -> None:
        s3 = release.document["s3"]
        place = {"endpoint_url": s3["endpoint"], "region_name": "us-east-1"}
        sts = boto3.client("sts", aws_access_key_id=s3["access_key"], aws_secret_access_key=s3["secret_key"], **place)
        given = sts.assume_role(RoleArn="arn:stratum:iam::test:role", RoleSessionName="policies", Policy=json.dumps(policy))["Credentials"]
        self.prefix = root.prefix
        self.s3 = boto3.client(
            "s3",
            aws_access_key_id=given["AccessKeyId"],
            aws_secret_access_key=given["SecretAccessKey"],
            aws_session_token=given["SessionToken"],
            **place,
        )

    def may(self, operation: str, key: str, **more: Any) -> bool:
        """Whether the store lets them; anything but a refusal fails the test."""
        return _allowed(lambda: getattr(self.s3, operation)(Bucket=BUCKET, Key=self.prefix + key, **more))

    def may_list(self, prefix: str) -> bool:
        """The same for listings."""
        return _allowed(lambda: self.s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix))


def _allowed(request: Callable[[], object]) -> bool:
    try:
        request()
    except ClientError as error:
        if error.response["Error"]["Code"] != "AccessDenied":
            raise
        return False
    return True


def test_runs_fill_run_folders_and_ship_logs(release: Release, root: StorageRoot) -> None:
    runs = Keys(release, root, runs_policy(root))
    for key in ("e/v/new/run/part-0.parquet", "e/v/new/run/_proposal.json", "e/v/new/run/", "_logs/process/0/1/000000.log"):
        assert runs.may("put_object", key, Body=b"1")
    assert runs.may("get_object", "e/v/sealed/_manifest.json")
    assert runs.may_list(f"{root.prefix}e/v/new/run/")
    assert runs.may("delete_object", "e/v/new/run/")
    assert runs.may("put_object", "e/v/new/run/__magic_job-1/tasks/1.pending", Body=b"1")
    assert runs.may("delete_object", "e/v/new/run/__magic_job-1/tasks/1.pending")


def test_runs_complete_and_abort_multipart_uploads(release: Release, root: StorageRoot) -> None:
    s3 = Keys(release, root, runs_policy(root)).s3
    place = {"Bucket": BUCKET, "Key": f"{root.prefix}e/v/new/run/part-1.parquet"}
    upload = s3.create_multipart_upload(**place)["UploadId"]
    part = s3.upload_part(**place, UploadId=upload, PartNumber=1, Body=b"1")
    s3.complete_multipart_upload(**place, UploadId=upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
    s3.abort_multipart_upload(**place, UploadId=s3.create_multipart_upload(**place)["UploadId"])
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=BUCKET, Prefix=place["Key"])


def test_runs_cannot_seal_unseal_or_remove(release: Release, root: StorageRoot) -> None:
    runs = Keys(release, root, runs_policy(root))
    assert not runs.may("put_object", "e/v/new/_manifest.json", Body=b"1", IfNoneMatch="*")
    assert not runs.may("put_object", "e/v/sealed/_manifest.json", Body=b"1")
    assert not runs.may("create_multipart_upload", "e/v/sealed/_manifest.json")
    copied = {"Bucket": BUCKET, "Key": f"{root.prefix}e/v/sealed/run/part-0.parquet"}
    assert not runs.may("copy_object", "e/v/new/_manifest.json", CopySource=copied)
    assert not runs.may("delete_object", "e/v/sealed/_manifest.json")
    assert not runs.may("delete_object", "e/v/sealed/run/part-0.parquet")
    assert not runs.may("put_object", "e/v/sealed/stray.parquet", Body=b"1")


def test_keys_of_a_prefix_end_there(release: Release, root: StorageRoot) -> None:
    for policy in (runs_policy(root), control_plane_policy(root)):
        keys = Keys(release, root, policy)
        keys.prefix = ""
        release.s3.put_object(Bucket=BUCKET, Key="other/v/d/run/part-0.parquet", Body=b"1")
        assert keys.may("get_object", "other/v/d/run/part-0.parquet") is not bool(root.prefix)
        assert keys.may_list("other/") is not bool(root.prefix)


def test_the_control_plane_seals_and_sweeps_but_never_unseals(release: Release, root: StorageRoot) -> None:
    control_plane = Keys(release, root, control_plane_policy(root))
    control_plane.s3.list_buckets()  # what its readiness asks
    release.s3.delete_object(Bucket=BUCKET, Key=f"{root.prefix}e/v/late/_manifest.json")
    assert control_plane.may("put_object", "e/v/late/_manifest.json", Body=b"1", IfNoneMatch="*")
    assert not control_plane.may("delete_object", "e/v/late/_manifest.json")
    assert control_plane.may("delete_object", "e/v/new/run/part-0.parquet")
