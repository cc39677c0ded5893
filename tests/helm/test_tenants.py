"""A tenant that `stratum tenants create` writes into the values, as the chart renders it."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from stratum.tenants import manifests
from stratum.tenants.values import Release
from stratum.tenants.wish import Limits, Wish
from tests.helm.chart import CHART, NAMESPACE, Manifest, containers, launcher_config, named, of_kind, pods, rendered

pytestmark = pytest.mark.cluster

ACME = Wish(
    "acme",
    "lake",
    "acme/",
    "stratum-acme",
    Limits(1_000_000, 200, "none", 10**12),
    {"pods": "9"},
    "batch",
    "low",
    ("registry.example/a:1",),
)


def with_acme(release: str, values: str, tmp_path: Path) -> tuple[Manifest, ...]:
    before = Release(release, "stratum", yaml.safe_load((CHART / "ci" / f"{values}.yaml").read_text()))
    after = before.with_tenant(manifests.entry(manifests.names(before, ACME), ACME, manifests.STORAGE_SECRET))
    file = tmp_path / "values.json"
    file.write_text(json.dumps(after))
    command = ["helm", "template", release, str(CHART), "--namespace", "stratum", "--kube-version", "1.34.0", "--values", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return tuple(each for each in yaml.safe_load_all(done.stdout) if each)


@pytest.mark.parametrize("values", ["external", "dev"])
def test_the_chart_takes_it(values: str, tmp_path: Path) -> None:
    found = with_acme("stratum", values, tmp_path)
    theirs = [each for each in found if each["metadata"].get("namespace") == "stratum-acme"]
    assert {each["kind"] for each in theirs} == {"ServiceAccount", "ResourceQuota", "Role", "RoleBinding"}
    assert "stratum-acme" not in [each["metadata"]["name"] for each in of_kind(found, "Namespace", "Secret")], "not the chart's to make"
    (config,) = [each for each in of_kind(found, "ConfigMap") if "stratum-acme" in json.dumps(each)]
    launcher = yaml.safe_load(next(text for text in config["data"].values() if "stratum-acme" in text))
    place: dict[str, Any] = launcher["tenants"]["acme"]
    assert place["s3_secret"] == {"name": manifests.STORAGE_SECRET, "access_key": "access-key", "secret_key": "secret-key"}
    assert (place["queue"], place["priority_class"]) == ("batch", "low")


def test_its_limits_reach_the_control_plane_as_whole_numbers(tmp_path: Path) -> None:
    job = named(with_acme("stratum", "external", tmp_path), "Job", "stratum-provision")
    (container,) = job["spec"]["template"]["spec"]["containers"]
    arguments = container["args"]
    pairs = dict(zip(arguments[1::2], arguments[2::2], strict=True))
    assert pairs == {
        "--tenant": "acme",
        "--bucket": "lake",
        "--prefix": "acme/",
        "--max-in-flight": "1000000",
        "--max-held": "200",
        "--max-executor-cores": "none",
        "--max-stored-bytes": "1000000000000",
        "--role": "admin",
        "--api-key-file": "/etc/stratum/api-key/api-key",
    }
    (volume,) = [each for each in job["spec"]["template"]["spec"]["volumes"] if "secret" in each]
    assert volume["secret"]["secretName"] == "stratum-tenant-acme"


@pytest.mark.parametrize("release", ["stratum", "prod", "my-stratum-2"])
def test_the_objects_are_called_as_the_commands_expect(release: str, tmp_path: Path) -> None:
    found = with_acme(release, "dev", tmp_path)
    fullname = Release(release, "stratum", {}).fullname
    (api,) = [each for each in of_kind(found, "Deployment") if each["metadata"]["name"] == f"{fullname}-api"]
    assert api["spec"]["template"]["spec"]["containers"][0]["name"] == "api"
    assert named(found, "Service", f"{fullname}-minio")
    platform = tuple(each for each in found if each["metadata"].get("namespace") == "stratum")
    assert set(named(platform, "Secret", f"{fullname}-s3")["data"]) == {"access-key", "secret-key"}


def test_limits_that_are_not_named_are_left_to_the_control_plane() -> None:
    job = named(rendered("everything"), "Job", "platform-provision")
    acme, globex = (each["args"] for each in containers(job["spec"]["template"]["spec"]))
    assert acme[acme.index("--max-executor-cores") + 1] == "none"
    assert "--max-held" not in globex


def test_tenants_have_namespaces_of_their_own() -> None:
    manifests = rendered("everything")
    (namespace,) = of_kind(manifests, "Namespace")
    assert namespace["metadata"]["name"] == f"{NAMESPACE}-acme", "the other exists already"
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert namespace["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    (quota,) = of_kind(manifests, "ResourceQuota")
    assert (quota["metadata"]["namespace"], quota["spec"]["hard"]["pods"]) == (f"{NAMESPACE}-acme", "50")
    (secret,) = of_kind(manifests, "Secret")
    assert (secret["metadata"]["namespace"], secret["metadata"]["name"]) == (f"{NAMESPACE}-acme", "stratum-s3")
    policies = {each["metadata"]["namespace"] for each in of_kind(manifests, "NetworkPolicy")}
    assert policies == {NAMESPACE, f"{NAMESPACE}-acme", "globex-runs"}


@pytest.mark.parametrize("name", ["on", "no", "null", "123"])
def test_names_that_yaml_takes_for_something_else(name: str, tmp_path: Path) -> None:
    texts = tuple(f"tenants[0].{key}={name}" for key in ("name", "namespace", "queue", "priorityClass", "apiKey.existingSecret.name"))
    manifests = rendered("external", "networkPolicy.enabled=true", "networkPolicy.apiFrom[0].podSelector.a=b", texts=texts)

    def strings(document: Any) -> None:
        for value in document.values():
            if isinstance(value, dict):
                strings(value)
            else:
                assert isinstance(value, str), document

    for each in manifests:
        strings(each["metadata"])
        for subject in each.get("subjects", []):
            strings(subject)
        strings(each.get("roleRef", {}))
    assert named(manifests, "Namespace", name)["metadata"]["labels"]["stratum.dev/tenant"] == name
    peers = named(manifests, "NetworkPolicy", "stratum-api")["spec"]["ingress"][0]["from"]
    (peer,) = [each for each in peers if "namespaceSelector" in each]
    strings(peer)
    (job,) = [spec for of, spec in pods(manifests).items() if of == "Job/stratum-provision"]
    assert [each["secret"]["secretName"] for each in job["volumes"] if "secret" in each] == [name]
    place = launcher_config(manifests, tmp_path).place(name)
    assert (place.namespace, place.queue, place.priority_class) == (name, name, name)
