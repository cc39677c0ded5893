"""Manifests are what was approved, and what a real API server takes."""

import json
import shlex
from typing import Any

import pytest
import yaml

from launcher.errors import CommandUnfit
from launcher.kubernetes.job_manifest import command_secret_name
from launcher.kubernetes.platform import Platform
from launcher.settings import SettingsError
from tests.cluster.cluster import Cluster
from tests.launcher.kubernetes.golden import CASES, FOLDER, config_of, manifests, written
from tests.launcher.kubernetes.world import TenantNamespace


@pytest.mark.parametrize("case", CASES)
def test_as_approved(case: str) -> None:
    assert written(case) == (FOLDER / f"{case}.yaml").read_text(encoding="utf-8")


def test_nothing_else_is_approved() -> None:
    assert {file.stem for file in FOLDER.iterdir()} == set(CASES)


@pytest.mark.cluster
@pytest.mark.parametrize("case", CASES)
def test_real_server_takes_it(case: str, cluster: Cluster, namespace: TenantNamespace) -> None:
    for document in manifests(case):
        pods = [document["spec"]["template"]] if document["kind"] == "Job" else [_executor(document)]
        for each in (document, *(_bare_pod(pod, document["metadata"]["name"]) for pod in pods)):
            each["metadata"]["namespace"] = namespace.name
            if each["kind"] == "Pod":
                each["spec"]["serviceAccountName"] = "stratum-driver"
                each["spec"].pop("priorityClassName", None)
            given = json.dumps(each)
            assert "server dry run" in cluster.kubectl("create", "--dry-run=server", "--validate=strict", "-f", "-", given=given)


def _executor(secret: dict[str, Any]) -> dict[str, Any]:
    """The executor's pod as Spark completes it."""
    template: dict[str, Any] = yaml.safe_load(secret["stringData"]["executor-pod.yaml"])
    template["spec"]["containers"][0] |= {"image": "stratum-spark", "args": ["executor"]}
    return template


def _bare_pod(template: dict[str, Any], name: str) -> dict[str, Any]:
    """A pod like the template's: only a pod itself is judged by Pod Security."""
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {**template["metadata"], "name": name}, "spec": template["spec"]}


@pytest.mark.parametrize("case", CASES)
def test_no_secret_is_in_the_job(case: str) -> None:
    job, secret = manifests(case)
    assert "secret-token" not in json.dumps(job)
    assert json.loads(secret["stringData"]["command.json"])["flow_token"] == "secret-token"
    assert command_secret_name(job) == secret["metadata"]["name"]


@pytest.mark.parametrize("case", CASES)
def test_executors_have_no_token(case: str) -> None:
    job, secret = manifests(case)
    executor = _executor(secret)
    assert executor["spec"]["automountServiceAccountToken"] is False
    assert not any("projected" in volume or "secret" in volume for volume in executor["spec"]["volumes"])
    assert job["spec"]["template"]["spec"]["automountServiceAccountToken"] is True, "the driver makes executors"


def test_driver_arguments_read_as_a_command_line() -> None:
    job, _ = manifests("defaults")
    arguments = job["spec"]["template"]["spec"]["containers"][0]["args"]
    assert arguments[:5] == ["driver", "--master", "k8s://https://kubernetes.default.svc", "--deploy-mode", "client"]
    assert shlex.join(arguments).endswith("-- spark_jobs run --command /etc/stratum/command/command.json")


def test_tenant_without_a_namespace_is_refused() -> None:
    with pytest.raises(CommandUnfit, match="'globex'") as refusal:
        config_of({}).place("globex")
    assert refusal.value.error_class == "NO_NAMESPACE"


@pytest.mark.parametrize("cluster_name", ["", "eu 1", "-eu", "x" * 64])
def test_cluster_name_must_do_as_a_label(cluster_name: str) -> None:
    with pytest.raises(SettingsError, match="STRATUM_CLUSTER"):
        Platform(cluster_name, "http://s3", "us-east-1", 20)
