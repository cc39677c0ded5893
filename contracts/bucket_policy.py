"""Policies of object stores that have them (IAM's language): what the keys of a tenant's runs, and those of the control plane, may do.

The storage layout says who writes what; these make the store hold it. Whoever has a run's keys can read the tenant's data and
fill run folders, and can neither seal, nor unseal, nor remove anything.
"""

from typing import Any

from contracts.layout import MANIFEST_NAME, TOMBSTONE_NAME, StorageRoot

_MULTIPART = ("s3:AbortMultipartUpload", "s3:ListMultipartUploadParts")


def runs_policy(root: StorageRoot) -> dict[str, Any]:
    """For the keys in the tenant's namespace: drivers, executors, and the shipping of logs."""
    run_folder = f"{_objects(root)}*/*/*/*/"
    return _policy(
        *_listing(root),
        _allow("ReadData", ("s3:GetObject",), f"{_objects(root)}*"),
        _allow("FillRunFoldersAndLogs", ("s3:PutObject", *_MULTIPART), f"{run_folder}*"),
        # the committer's own scratch, and the empty object that stands for a folder
        _allow("ClearScratch", ("s3:DeleteObject",), f"{run_folder}__magic*", run_folder),
        _deny("ManifestsAreNotForRuns", ("s3:PutObject", "s3:DeleteObject"), *_for_good(root)),
    )


def control_plane_policy(root: StorageRoot) -> dict[str, Any]:
    """For the control plane: it seals, retires and sweeps. That something was sealed, or retired, stays, even from it."""
    return _policy(
        _allow("Readiness", ("s3:ListAllMyBuckets",), "arn:aws:s3:::*"),
        *_listing(root),
        _allow("SealAndSweep", ("s3:GetObject", "s3:PutObject", "s3:DeleteObject", *_MULTIPART), f"{_objects(root)}*"),
        _deny("SealedStays", ("s3:DeleteObject",), *_for_good(root)),
    )


def bucket_policy(root: StorageRoot, runs: str, control_plane: str) -> dict[str, Any]:
    """Both as the policy of the bucket itself, which names whose keys it is about; and create-only is the store's to hold.

    Written by Amazon's documentation of `s3:if-none-match`; no other store is known to have this condition.

    Args:
        runs: whom the tenant's runs are, as an ARN.
        control_plane: the same of the control plane.
    """
    of = (("Runs", runs, runs_policy(root)), ("ControlPlane", control_plane, control_plane_policy(root)))
    statements = [
        {**each, "Sid": f"{whose}{each['Sid']}", "Principal": {"AWS": principal}}
        for whose, principal, policy in of
        for each in policy["Statement"]
        # of no single bucket: it stays with the keys
        if each["Action"] != ["s3:ListAllMyBuckets"]
    ]
    # not for files of runs: the committer completes its uploads without the header
    once = _deny("OnlyOnce", ("s3:PutObject",), *_for_good(root), f"arn:aws:s3:::{root.bucket}/{root.logs_prefix}*")
    return _policy(*statements, {**once, "Principal": "*", "Condition": {"Null": {"s3:if-none-match": "true"}}})


def _for_good(root: StorageRoot) -> tuple[str, str]:
    return f"{_objects(root)}*/{MANIFEST_NAME}", f"{_objects(root)}*/{TOMBSTONE_NAME}"


def _objects(root: StorageRoot) -> str:
    return f"arn:aws:s3:::{root.bucket}/{root.prefix}"


def _listing(root: StorageRoot) -> tuple[dict[str, Any], ...]:
    objects = _allow("ListObjects", ("s3:ListBucket",), f"arn:aws:s3:::{root.bucket}")
    if root.prefix:
        objects["Condition"] = {"StringLike": {"s3:prefix": [f"{root.prefix}*"]}}
    # apart, and for the whole bucket: not every store knows the condition for it
    return objects, _allow("ListUnfinishedUploads", ("s3:ListBucketMultipartUploads",), f"arn:aws:s3:::{root.bucket}")


def _allow(sid: str, actions: tuple[str, ...], *resources: str) -> dict[str, Any]:
    return {"Sid": sid, "Effect": "Allow", "Action": list(actions), "Resource": list(resources)}


def _deny(sid: str, actions: tuple[str, ...], *resources: str) -> dict[str, Any]:
    return {"Sid": sid, "Effect": "Deny", "Action": list(actions), "Resource": list(resources)}


def _policy(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}
