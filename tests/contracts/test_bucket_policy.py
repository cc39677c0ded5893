"""The policy of the bucket itself: what no store here can be asked."""

import sys

import pytest

from contracts.__main__ import main
from contracts.bucket_policy import bucket_policy, control_plane_policy, runs_policy
from contracts.layout import StorageRoot

RUNS, CONTROL_PLANE = "arn:aws:iam::111122223333:role/runs", "arn:aws:iam::111122223333:role/stratum"


@pytest.mark.parametrize("root", [StorageRoot("lake"), StorageRoot("lake", "acme/")], ids=["bucket", "prefix"])
def test_a_bucket_says_of_whom_what_policies_say_of_keys(root: StorageRoot) -> None:
    policy = bucket_policy(root, RUNS, CONTROL_PLANE)["Statement"]
    assert len({each["Sid"] for each in policy}) == len(policy)
    assert all(each["Sid"].isalnum() for each in policy)
    for principal, of_keys in ((RUNS, runs_policy(root)), (CONTROL_PLANE, control_plane_policy(root))):
        given = [(each["Effect"], each["Action"], each["Resource"]) for each in policy if each["Principal"] == {"AWS": principal}]
        wanted = [(each["Effect"], each["Action"], each["Resource"]) for each in of_keys["Statement"]]
        assert given == [each for each in wanted if each[1] != ["s3:ListAllMyBuckets"]]
    assert all(resource.startswith("arn:aws:s3:::lake") for each in policy for resource in each["Resource"]), "of no other bucket"


@pytest.mark.parametrize("root", ["s3://lake/*/", "s3://lake/a?b", "s3://lake/${aws:username}", "s3://*"])
@pytest.mark.parametrize("whose", ["runs", "control-plane"])
def test_no_policy_is_printed_for_what_means_others_data(
    whose: str, root: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["contracts", "policy", whose, root])
    assert main() == 2
    output = capsys.readouterr()
    assert (output.out, "must be" in output.err) == ("", True)


def test_nobody_writes_twice_what_is_written_once() -> None:
    (once,) = [each for each in bucket_policy(StorageRoot("lake", "acme/"), RUNS, CONTROL_PLANE)["Statement"] if each["Principal"] == "*"]
    assert once == {
        "Sid": "OnlyOnce",
        "Effect": "Deny",
        "Principal": "*",
        "Action": ["s3:PutObject"],
        "Resource": ["arn:aws:s3:::lake/acme/*/_manifest.json", "arn:aws:s3:::lake/acme/*/_retired.json", "arn:aws:s3:::lake/acme/_logs/*"],
        "Condition": {"Null": {"s3:if-none-match": "true"}},
    }
