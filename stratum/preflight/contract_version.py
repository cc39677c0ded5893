"""Of which version of the storage contract the datasets are that lie in a store already."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, get_args

from contracts.layout import MANIFEST_NAME, StorageRoot
from contracts.model import ContractVersion
from stratum.preflight.finding import Finding, failed, passed

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

KNOWN: tuple[int, ...] = get_args(get_args(ContractVersion)[0])
_AT_EACH_LEVEL = 4
"""How many entities, versions of each, and datasets of each are looked at: enough to meet another version, little enough to be quick."""


def sample(client: "S3Client", root: StorageRoot) -> Counter[object]:
    """How many manifests of each version a walk through some entities finds. What is no manifest counts under its key."""
    found: Counter[object] = Counter()
    for entity in _folders(client, root.bucket, root.prefix):
        for version in _folders(client, root.bucket, entity):
            for dataset in _folders(client, root.bucket, version):
                key = f"{dataset}{MANIFEST_NAME}"
                if client.list_objects_v2(Bucket=root.bucket, Prefix=key, MaxKeys=1)["KeyCount"]:
                    found[_version(client.get_object(Bucket=root.bucket, Key=key)["Body"].read(), key)] += 1
    return found


def judge(found: Counter[object]) -> Finding:
    """Judge the versions that were found."""
    readable = ", ".join(map(str, KNOWN))
    strange = {version: count for version, count in found.items() if version not in KNOWN}
    if strange:
        words = ", ".join(f"{count} x {version}" for version, count in strange.items())
        return failed(
            f"manifests of another version: {words}; this code reads {readable}",
            "Deploy the version of Stratum that wrote them, or a later one; or give this installation a prefix of its own.",
        )
    if not found:
        return passed(f"no datasets yet; this code reads version {readable}")
    return passed(f"{found.total()} manifests looked at, all of version {readable}")


def _version(body: bytes, key: str) -> object:
    try:
        version = json.loads(body)["contract_version"]
    except (ValueError, KeyError, TypeError):
        return key
    return version if isinstance(version, int) else str(version)


def _folders(client: "S3Client", bucket: str, prefix: str) -> Iterator[str]:
    # those that begin with '_' are no data
    answer = client.list_objects_v2(Bucket=bucket, Prefix=prefix, Delimiter="/", MaxKeys=_AT_EACH_LEVEL + 2)
    folders = [found["Prefix"] for found in answer.get("CommonPrefixes", []) if not found["Prefix"].removeprefix(prefix).startswith("_")]
    yield from folders[:_AT_EACH_LEVEL]
