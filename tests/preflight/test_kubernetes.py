"""The group `kubernetes` on a real cluster: what is missing is seen, and a pod looks around as a run would."""

import os
import secrets
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kubernetes
import pytest
import yaml

from contracts.access import access_of
from tests.cluster.cluster import Cluster
from tests.control_plane.installation import Installation
from tests.preflight.conftest import Answer, Deployment
from tests.preflight.serving import api_of, proxy
from tests.preflight.test_preflight import expect

pytestmark = pytest.mark.cluster

IMAGE = os.environ.get("STRATUM_TEST_JOBS_IMAGE", "localhost/stratum/spark:dev")
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


@dataclass(frozen=True)
class Rooms:
    """Two namespaces of this test."""

    own: str
    runs: str
    client: Any

    def create(self, kind: str, name: str, namespace: str, **body: Any) -> None:
        """An object; its API version follows from the kind."""
        versions = {"Role": "rbac.authorization.k8s.io/v1", "RoleBinding": "rbac.authorization.k8s.io/v1"}
        document = {"apiVersion": versions.get(kind, "v1"), "kind": kind, "metadata": {"name": name, "namespace": namespace}, **body}
        kubernetes.utils.create_from_dict(self.client, document)

    def grant(self, role: Any, account: str, of: str) -> None:
        """What the table says, for an account of namespace `of`."""
        for where, namespace in (("tenant", self.runs), ("own", self.own)):
            rules = [
                {"apiGroups": [row.api_group], "resources": [row.resource], "verbs": list(row.verbs)} for row in access_of(role, where)
            ]
            if rules:
                self.create("Role", account, namespace, rules=rules)
                subject = {"kind": "ServiceAccount", "name": account, "namespace": of}
                ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": account}
                self.create("RoleBinding", account, namespace, subjects=[subject], roleRef=ref)

    def kubeconfig_of(self, account: str, folder: Path) -> Path:
        """A kubeconfig that speaks as an account of the own namespace."""
        core = kubernetes.client.CoreV1Api(self.client)
        token = core.create_namespaced_service_account_token(account, self.own, {"spec": {"expirationSeconds": 3600}}).status.token
        known = yaml.safe_load(Path(os.environ["KUBECONFIG"]).read_text())
        known["users"] = [{"name": user["name"], "user": {"token": token}} for user in known["users"]]
        written = folder / "kubeconfig"
        written.write_text(yaml.safe_dump(known))
        return written

    @property
    def pods(self) -> list[str]:
        """Names of the pods where runs live, those that are being removed left out."""
        items = kubernetes.client.CoreV1Api(self.client).list_namespaced_pod(self.runs).items
        return [pod.metadata.name for pod in items if pod.metadata.deletion_timestamp is None]


@pytest.fixture
def rooms() -> Iterator[Rooms]:
    Cluster()  # the one that KUBECONFIG names is disposable
    configuration = kubernetes.client.Configuration()
    kubernetes.config.load_config(client_configuration=configuration)
    with kubernetes.client.ApiClient(configuration) as client:
        core = kubernetes.client.CoreV1Api(client)
        name = f"pf-{secrets.token_hex(3)}"
        found = Rooms(f"{name}-own", f"{name}-runs", client)
        for namespace in (found.own, found.runs):
            core.create_namespace({"metadata": {"name": namespace, "labels": RESTRICTED}})
        try:
            yield found
        finally:
            for namespace in (found.own, found.runs):
                core.delete_namespace(namespace)


@pytest.fixture
def furnished(rooms: Rooms, installation: Installation) -> Rooms:
    """The namespaces with all that the chart would make."""
    for name in ("stratum-driver", "stratum-executor"):
        rooms.create("ServiceAccount", name, rooms.runs)
    for name in ("stratum-submit", "stratum-observe"):
        rooms.create("ServiceAccount", name, rooms.own)
    rooms.grant("submit", "stratum-submit", rooms.own)
    rooms.grant("observe", "stratum-observe", rooms.own)
    rooms.grant("driver", "stratum-driver", rooms.runs)
    keys = {"access-key": installation.s3_access_key, "secret-key": installation.s3_secret_key}
    rooms.create("Secret", "stratum-s3", rooms.runs, stringData=keys)
    return rooms


@pytest.fixture
def cluster(sound: Deployment, rooms: Rooms, installation: Installation, tmp_path: Path) -> Iterator[Deployment]:
    """The installation as runs on the node reach it: API and store at an address of this machine that is not its own alone."""
    config = tmp_path / "kubernetes.yaml"
    config.write_text(yaml.safe_dump({"tenants": {"acme": {"namespace": rooms.runs}}, "sidecar_image": IMAGE}))
    here = address_of_this_machine()
    nothing: Any = lambda *_: None  # noqa: E731
    with api_of(installation, host="0.0.0.0") as url, proxy(installation.s3_endpoint, nothing, host=here) as store:
        yield sound.but(
            callback_base_url=f"http://{here}:{urlsplit(url).port}",
            s3_endpoint=store,
            namespace=rooms.own,
            kubernetes_config_file=str(config),
            jobs_image=IMAGE,
            submit_service_account="stratum-submit",
            observe_service_account="stratum-observe",
        )


def look(deployment: Deployment, *arguments: str) -> Answer:
    kubeconfig = {name: os.environ[name] for name in ("KUBECONFIG",) if name in os.environ}
    return Deployment({**deployment.environment, **kubeconfig}).preflight("--only", "kubernetes", *arguments)


def test_a_sound_cluster(cluster: Deployment, furnished: Rooms, installation: Installation, bucket: str) -> None:
    answer = look(cluster)
    # the test's store has one identity for all, and images that were built here have no digest
    warned = {"kubernetes: pod of acme: storage keys", "kubernetes: image digests"}
    assert {name for name, status in answer.statuses().items() if status != "pass"} == warned
    expect(answer, "kubernetes: image digests", "warn", IMAGE)
    expect(answer, "kubernetes: pod of acme: storage keys", "warn", "policy-runs.json")
    assert answer.code == 0
    assert furnished.pods == []
    assert installation.s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_its_own_rights_are_enough(cluster: Deployment, furnished: Rooms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `helm test` runs it: by an account that has what the table says and no more."""
    furnished.create("ServiceAccount", "preflight", furnished.own)
    furnished.grant("preflight", "preflight", furnished.own)
    monkeypatch.setenv("KUBECONFIG", str(furnished.kubeconfig_of("preflight", tmp_path)))
    answer = look(cluster)
    statuses = answer.statuses()
    assert {statuses.pop(f"kubernetes: {name}") for name in ("pod of acme: storage keys", "image digests")} == {"warn"}
    assert {name for name, status in statuses.items() if status == "skip"} == {"kubernetes: own namespace", "kubernetes: namespaces"}
    assert set(statuses.values()) == {"pass", "skip"}, answer.document


def test_what_is_missing_is_named(cluster: Deployment, rooms: Rooms) -> None:
    """Empty namespaces: no accounts, no rights, no Secret."""
    rooms.create("ServiceAccount", "stratum-driver", rooms.runs)
    rooms.create("ResourceQuota", "runs", rooms.runs, spec={"hard": {"limits.memory": "1Gi"}})
    answer = look(cluster)
    expect(answer, "kubernetes: service accounts", "fail", "stratum-executor")
    expect(answer, "kubernetes: access of submit", "fail", f"create, get, patch jobs.batch in {rooms.runs}", "create secrets")
    expect(answer, "kubernetes: access of observe", "fail", f"leases.coordination.k8s.io in {rooms.own}", "list events")
    expect(answer, "kubernetes: access of drivers", "fail", "create, get, list, watch")
    expect(answer, "kubernetes: quota", "fail", "limits.memory: 0 of 1Gi used, the smallest run needs 4430Mi")
    expect(answer, "kubernetes: pod of acme", "fail", "stratum-s3", "Secret")
    assert answer["kubernetes: pod of acme: callback"]["status"] == "skip"
    assert rooms.pods == []


@pytest.mark.slow  # the next one sees it of another image
def test_an_image_that_is_not_there(cluster: Deployment, furnished: Rooms) -> None:
    answer = look(cluster.but(jobs_image="localhost/stratum/nothing:none"))
    expect(answer, "kubernetes: pod of acme", "fail", "ImagePullBackOff", "STRATUM_JOBS_IMAGE")
    assert furnished.pods == []


def test_a_sidecars_image_that_is_not_there(cluster: Deployment, furnished: Rooms) -> None:
    """Every run needs it, whatever its action."""
    config = Path(cluster.environment["STRATUM_KUBERNETES_CONFIG_FILE"])
    config.write_text(yaml.safe_dump({**yaml.safe_load(config.read_text()), "sidecar_image": "localhost/stratum/nothing:none"}))
    answer = look(cluster)
    expect(answer, "kubernetes: pod of acme", "fail", "ImagePullBackOff", "localhost/stratum/nothing:none", "sidecar_image")
    assert furnished.pods == []


def test_a_priority_class_that_is_not_there(cluster: Deployment, furnished: Rooms) -> None:
    """Every driver would be refused."""
    config = Path(cluster.environment["STRATUM_KUBERNETES_CONFIG_FILE"])
    config.write_text(yaml.safe_dump({**yaml.safe_load(config.read_text()), "priority_class": "nowhere", "queue": "runs"}))
    answer = look(cluster)
    expect(answer, "kubernetes: pod of acme", "fail", "no PriorityClass with name nowhere", "priority_class")
    expect(answer, "kubernetes: queues", "fail", f"runs in {furnished.runs}", "Kueue")
    assert furnished.pods == []


def test_an_api_that_pods_do_not_reach(cluster: Deployment, furnished: Rooms) -> None:
    answer = look(cluster.but(callback_base_url="http://127.0.0.1:9"))
    expect(answer, "kubernetes: pod of acme: callback", "fail", "Connection refused", "NetworkPolicies")


def test_namespaces(cluster: Deployment, rooms: Rooms) -> None:
    kubernetes.client.CoreV1Api(rooms.client).patch_namespace(rooms.runs, {"metadata": {"labels": {next(iter(RESTRICTED)): "baseline"}}})
    answer = look(cluster, "--no-pods", "--namespace", "pf-not-there")
    expect(answer, "kubernetes: namespaces", "warn", "baseline", "restricted --overwrite")
    expect(answer, "kubernetes: own namespace", "fail", "pf-not-there", "kubectl create namespace")
    assert answer["kubernetes: pod of acme"]["status"] == "skip"


def test_a_tenant_without_a_place(cluster: Deployment) -> None:
    expect(look(cluster, "--tenant", "nobody"), "kubernetes: configuration", "fail", "nobody")


def address_of_this_machine() -> str:
    """The address by which others, the node's pods among them, reach this machine. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])
