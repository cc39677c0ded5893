"""`stratum tenants`: what is refused before any cluster is asked, and what is printed instead of done."""

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from stratum.cli.main import app

PRINTED = """\
# For the values of the chart: one item more under `tenants`.
tenants:
- name: acme
  bucket: lake
  prefix: acme/
  namespace: stratum-acme
  createNamespace: false
  apiKey:
    existingSecret:
      name: stratum-tenant-acme
      key: api-key
  s3:
    existingSecret:
      name: acme-s3
      accessKeyKey: access-key
      secretKeyKey: secret-key
  maxInFlight: 50
  maxExecutorCores: 128
  quota:
    requests.cpu: '40'
---
apiVersion: v1
kind: Namespace
metadata:
  name: stratum-acme
  labels:
    app.kubernetes.io/managed-by: stratum-tenants
    stratum.dev/release: stratum
    stratum.dev/tenant: acme
    pod-security.kubernetes.io/enforce: restricted
    pod-security.kubernetes.io/warn: restricted
---
# Empty on purpose: filled by what keeps your secrets. api-key: in base64, at least 24 random characters, such as of `openssl rand -hex 32`.
apiVersion: v1
kind: Secret
metadata:
  name: stratum-tenant-acme
  namespace: stratum
  labels:
    app.kubernetes.io/managed-by: stratum-tenants
    stratum.dev/release: stratum
    stratum.dev/tenant: acme
  annotations: {}
type: Opaque
data:
  api-key: ''
# Policy of the storage keys, for s3://lake/acme:
"""


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No helm, no kubectl, no cluster, no platform."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("STRATUM_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("KUBECONFIG", raising=False)


def stratum(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["tenants", *arguments])


LAKE = ("create", "acme", "--bucket", "lake")


def test_print() -> None:
    options = ("--max-in-flight", "50", "--max-executor-cores", "128", "--quota", "requests.cpu=40", "--s3-credentials", "existing:acme-s3")
    done = stratum(*LAKE, *options, "--print")
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(PRINTED)
    assert '#   "Version": "2012-10-17",' in done.stdout.splitlines()
    assert len(list(yaml.safe_load_all(done.stdout))) == 3
    document = json.loads(stratum(*LAKE, "--s3-credentials", "aws", "--print", "--json").stdout)
    assert [each["kind"] for each in document["manifests"]] == ["Namespace", "Secret", "Secret"]
    assert document["values"]["tenants"][0]["s3"]["existingSecret"]["name"] == "stratum-storage"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("create", "Acme", "--bucket", "lake"), "no name of a tenant"),
        ((*LAKE, "--prefix", "acme"), "must be empty, or names that each end with"),
        ((*LAKE, "--prefix", "*/"), "--prefix"),
        ((*LAKE, "--max-held", "many"), "neither a whole number"),
        ((*LAKE, "--quota", "pods"), "not of the form key=value"),
        ((*LAKE, "--quota", "pods=many"), "A quantity is"),
        ((*LAKE, "--print"), "existing:SECRET"),
        (("create", "acme", "--print", "--s3-credentials", "aws"), "Give --bucket"),
        ((*LAKE, "--print", "--s3-credentials", "given", "--s3-access-key", "AKIA"), "belong together"),
        ((*LAKE, "--local", "--queue", "batch"), "--local knows"),
        (("limit", "acme"), "No limit is named"),
        (("limit", "acme", "--max-stored-bytes", "0"), "neither a whole number"),
        (("remove", "../acme", "--yes"), "no name of a tenant"),
    ],
)
def test_usage(arguments: tuple[str, ...], says: str) -> None:
    done = stratum(*arguments)
    assert (done.exit_code, says in done.stderr) == (2, True), done.stderr


def test_what_is_missing_is_said() -> None:
    for arguments in (LAKE, ("list",), ("show", "acme"), ("limit", "acme", "--max-held", "1"), ("remove", "acme", "--yes")):
        done = stratum(*arguments)
        assert (done.exit_code, "`helm` is not on the PATH" in done.stderr) == (1, True), done.stderr
    done = stratum("create", "acme", "--local")
    assert (done.exit_code, "stratum up --detach" in done.stderr) == (1, True), done.stderr


def test_a_secret_key_comes_by_a_file_and_is_never_shown(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("very-secret\n")
    given = ("--s3-credentials", "given", "--s3-access-key", "AKIA", "--s3-secret-key-file", str(file))
    done = stratum(*LAKE, *given, "--print")
    assert done.exit_code == 0
    assert "very-secret" not in done.output
    assert "AKIA" not in done.output
