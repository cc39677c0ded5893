"""A tenant's whole life on a cluster, by `stratum tenants`: made, at work with its own keys, limited, removed; its data stays."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest

from stratum.tenants.manifests import STORAGE_SECRET
from tests.cluster.release import CHART, NAME, NAMESPACE, Release
from tests.e2e.platform import Installation
from tests.tenants.minio_server import denied

pytestmark = pytest.mark.cluster

TENANT, PLACE, BUCKET = "acme", f"{NAMESPACE}-acme", "stratum-acme"
WHERE = ("--release", NAME, "--namespace", NAMESPACE)
ACT = (*WHERE, "--chart", str(CHART))
CREATE = ("tenants", "create", TENANT, *ACT, "--max-in-flight", "5", "--quota", "pods=20")


@pytest.fixture(scope="module")
def made(release: Release) -> Iterator[dict[str, Any]]:
    """What `create` printed."""
    yield release.json(*CREATE)
    release.cli("tenants", "remove", TENANT, *ACT, "--yes", "--force", "--delete-namespace", code=0 if _is_there(release) else 3)
    release.await_answer()


@pytest.fixture(scope="module")
def acme(release: Release, made: dict[str, Any]) -> Installation:
    """The platform as the new tenant's administrator sees it."""
    release.await_answer()
    token = release.secret(made["api_key_secret"])["api-key"]
    return Installation({**release._environment, "STRATUM_TOKEN": token}, {**release.document, "token": token})


@pytest.fixture(scope="module")
def done(acme: Installation, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A process of the tenant that succeeded."""
    file: Path = tmp_path_factory.mktemp("acme") / "orders.csv"
    file.write_text("".join(["order,amount\n", *(f"{number},{number}\n" for number in range(100))]))
    acme.json("ingest", "shop", "v1", str(file))
    process = acme.post(
        entity_id="shop", data_version="v1", action="filter", parameters={"condition": "amount > 89"}, output_dataset="large"
    )
    return acme.wait(process["id"], "succeeded")


def test_a_run_in_its_own_namespace_with_its_own_keys(release: Release, made: dict[str, Any], done: dict[str, Any]) -> None:
    assert (made["changed"], made["namespace"], made["storage"], made["s3_secret"]) == (True, PLACE, f"s3://{BUCKET}/acme", STORAGE_SECRET)
    assert done["artifacts"][0]["rows"] == 10
    assert done["artifacts"][0]["location"].startswith(f"s3://{BUCKET}/acme/shop/v1/large/")
    (job,) = release.cluster.items("jobs", PLACE, f"stratum.dev/process-id={done['id']}")
    assert f'"name": "{STORAGE_SECRET}"' in json.dumps(job["spec"]["template"]["spec"])
    labels = json.loads(release.cluster.kubectl("get", "namespace", PLACE, "-o", "json"))["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    (quota,) = release.cluster.items("resourcequotas", PLACE)
    assert quota["spec"]["hard"] == {"pods": "20"}


def test_its_storage_keys_end_at_its_prefix(release: Release, done: dict[str, Any]) -> None:
    s3 = boto3.client(
        "s3",
        endpoint_url=release.document["s3"]["endpoint"],
        region_name="us-east-1",
        **dict(zip(("aws_access_key_id", "aws_secret_access_key"), _storage_keys(release), strict=True)),
    )
    bucket, key = done["artifacts"][0]["manifest"].removeprefix("s3://").split("/", 1)
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    release.s3.put_object(Bucket="stratum", Key="theirs/v/d/run/part-0.parquet", Body=b"theirs")
    release.s3.put_object(Bucket=BUCKET, Key="other/v/d/run/part-0.parquet", Body=b"theirs")
    for theirs in (
        {"Bucket": "stratum", "Key": "theirs/v/d/run/part-0.parquet"},
        {"Bucket": BUCKET, "Key": "other/v/d/run/part-0.parquet"},
    ):
        assert denied(lambda place=theirs: s3.get_object(**place))
        assert denied(lambda place=theirs: s3.put_object(**place, Body=b"1"))
    assert denied(lambda: s3.put_object(Bucket=bucket, Key=key, Body=b"1"))
    assert denied(lambda: s3.list_objects_v2(Bucket="stratum"))


def test_again_is_no_change_and_elsewhere_is_refused(release: Release, done: dict[str, Any]) -> None:
    revision, keys = _revision(release), _storage_keys(release)
    assert release.json(*CREATE)["changed"] is False
    assert (_revision(release), _storage_keys(release)) == (revision, keys)
    refused = release.cli(*CREATE, "--prefix", "elsewhere/", code=4)
    assert "do not move" in refused.stderr
    inside = release.cli("tenants", "create", "inside", *ACT, "--bucket", BUCKET, "--prefix", "acme/inside/", code=4)
    assert "lie inside one another" in inside.stderr
    unknown = release.cli("tenants", "create", "other", *ACT, "--queue", "Not-A-Name", code=2)
    assert "The chart refuses" in unknown.stderr
    for name in ("inside", "other"):
        assert release.cluster.get("namespace", f"{NAMESPACE}-{name}", NAMESPACE) is None, "nothing was made"


def test_what_is_missing_is_completed(release: Release, done: dict[str, Any]) -> None:
    """As after a crash: the keys of its runs are gone, and come back new, with the same user."""
    before = _storage_keys(release)
    release.cluster.kubectl("delete", "secret", STORAGE_SECRET, "-n", PLACE)
    assert release.json(*CREATE)["changed"] is True
    after = _storage_keys(release)
    assert (after[0], after[1] != before[1]) == (before[0], True)


@pytest.mark.slow
def test_listed_and_limited(release: Release, acme: Installation, done: dict[str, Any]) -> None:
    assert [each["name"] for each in release.json("tenants", "list", *WHERE)["items"]] == ["local", TENANT]
    limited = release.json("tenants", "limit", TENANT, *ACT, "--max-in-flight", "7", "--max-held", "1000000", "--quota", "pods=30")
    assert limited["changed"] is True
    release.await_answer()
    with acme.http as http:
        quota = http.get("/v1/quota").json()
    assert (quota["in_flight"]["limit"], quota["held"]["limit"]) == (7, 1_000_000)
    shown = release.json("tenants", "show", TENANT, *WHERE)
    assert (shown["max_held"], shown["quota"], shown["s3_credentials"], shown["closing"]) == (1_000_000, {"pods": "30"}, "minio", False)
    assert shown["namespace_exists"]
    assert shown["s3_secret_exists"]
    assert release.json("tenants", "limit", TENANT, *ACT, "--max-held", "none")["max_held"] == "none"


@pytest.mark.slow
def test_removed_and_its_data_is_there(release: Release, acme: Installation, done: dict[str, Any]) -> None:
    access_key, secret_key = _storage_keys(release)
    removed = release.json("tenants", "remove", TENANT, *ACT, "--yes")
    assert (removed["keys_ended"], removed["data"], removed["namespace_deleted"]) == (1, f"s3://{BUCKET}/acme", False)
    release.await_answer()
    with acme.http as http:
        assert http.get("/v1/processes").status_code == httpx.codes.UNAUTHORIZED
    release.assert_sealed_exactly(done)
    gone = boto3.client(
        "s3",
        endpoint_url=release.document["s3"]["endpoint"],
        region_name="us-east-1",
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
    )
    assert denied(lambda: gone.list_objects_v2(Bucket=BUCKET, Prefix="acme/"))
    for kind in ("roles", "rolebindings", "resourcequotas"):
        assert not release.cluster.items(kind, PLACE)
    assert not _is_there(release)
    assert release.cluster.get("namespace", PLACE, PLACE) is not None
    release.cli("tenants", "remove", TENANT, *ACT, "--yes", code=3)


@pytest.mark.slow
def test_made_again_it_finds_its_data(release: Release, acme: Installation, done: dict[str, Any]) -> None:
    made = release.json(*CREATE)
    assert made["changed"] is True
    release.await_answer()
    token = release.secret(made["api_key_secret"])["api-key"]
    assert token != acme.document["token"]
    again = Installation({}, {**release.document, "token": token})
    assert again.get(done["id"])["state"] == "succeeded"


def _is_there(release: Release) -> bool:
    return release.cluster.get("secret", f"{NAME}-tenant-{TENANT}", NAMESPACE) is not None


def _storage_keys(release: Release) -> tuple[str, str]:
    found = release.cluster.get("secret", STORAGE_SECRET, PLACE)
    assert found is not None
    texts = {key: base64.b64decode(value).decode() for key, value in found["data"].items()}
    return texts["access-key"], texts["secret-key"]


def _revision(release: Release) -> int:
    return int(json.loads(release.cluster.helm("history", NAME, "-n", NAMESPACE, "-o", "json").stdout)[-1]["revision"])
