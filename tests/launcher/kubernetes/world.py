"""The `kubernetes` backend under test: a tenant's namespace on a real cluster, and pods that run `job_program.py`."""

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from kubernetes.client import ApiClient, Configuration
from kubernetes.config import load_kube_config

from contracts.access import access_of
from contracts.identifiers import new_id
from launcher.job import JobSpec
from launcher.kubernetes import names
from launcher.kubernetes.api import KubernetesApi
from launcher.kubernetes.backend import KubernetesBackend
from launcher.kubernetes.config import KubernetesConfig
from launcher.kubernetes.platform import Platform
from tests.cluster.cluster import Cluster
from tests.launcher.samples import a_spec, eventually

IMAGE = "localhost/stratum/test-job:dev"
"""Built from `image/`: `make test-cluster` does it."""
GATE = "/tmp/gate"
SEEN = Path(__file__).with_name("seen")
"""What a real cluster said of jobs in many states."""


class TenantNamespace:
    """A namespace as the chart makes one: service accounts, the Secret with storage keys, a quota, the launcher's rights."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster = cluster
        self.name = name

    @classmethod
    @contextmanager
    def made(cls, cluster: Cluster, most_pods: int = 2) -> "Iterator[TenantNamespace]":
        """Make it, and delete it in the end."""
        namespace = cls(cluster, f"k8s-{new_id().hex[-12:]}")
        try:
            namespace._make(most_pods)
            yield namespace
        finally:
            cluster.kubectl("delete", "namespace", namespace.name, "--wait=false", "--ignore-not-found")

    def _make(self, most_pods: int) -> None:
        self.cluster.kubectl("create", "namespace", self.name)
        self.cluster.kubectl("label", "namespace", self.name, "pod-security.kubernetes.io/enforce=restricted")
        for account in ("stratum-driver", "stratum-executor", "launcher"):
            self.cluster.kubectl("create", "serviceaccount", account, "-n", self.name)
        keys = ["--from-literal=access-key=key", "--from-literal=secret-key=secret"]
        self.cluster.kubectl("create", "secret", "generic", "stratum-s3", "-n", self.name, *keys)
        self.cluster.kubectl("create", "quota", "room", "-n", self.name, f"--hard=pods={most_pods}")
        self.cluster.apply(self._role())
        self.cluster.kubectl(
            "create", "rolebinding", "launcher", "-n", self.name, "--role=launcher", f"--serviceaccount={self.name}:launcher"
        )

    def _role(self) -> dict[str, Any]:
        """What both roles of the launcher may do together, and nothing more."""
        rows = [*access_of("submit", "tenant"), *access_of("observe", "tenant")]
        rules = [{"apiGroups": [row.api_group], "resources": [row.resource], "verbs": list(row.verbs)} for row in rows]
        return {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": {"name": "launcher", "namespace": self.name},
            "rules": rules,
        }

    @contextmanager
    def api(self, address: str | None = None, **times: Any) -> Iterator[KubernetesApi]:
        """The API server as the launcher's own account may use it, at its own address or another."""
        configuration = Configuration()
        load_kube_config(client_configuration=configuration)
        configuration.host = address or configuration.host
        configuration.retries = False
        configuration.connection_pool_maxsize = 64
        with ApiClient(configuration) as client:
            client.set_default_header("Impersonate-User", f"system:serviceaccount:{self.name}:launcher")
            yield KubernetesApi(client, **times)


class ClusterWorld:
    """Jobs are told from those of other worlds by the name of the cluster that they carry."""

    slots = 2
    patience = 90.0
    look_seconds = 0.3
    limit_seconds = 12
    held = {"seconds": 300, "until_file": GATE}

    def __init__(self, namespace: TenantNamespace, stack: ExitStack, address: str | None = None, **config: Any) -> None:
        self.namespace = namespace
        self._address = address
        self.kubectl = namespace.cluster.kubectl
        self.platform = Platform(f"test-{new_id().hex}", "http://127.0.0.1:1", "us-east-1", kill_grace_seconds=2)
        self.config = KubernetesConfig.model_validate(
            {
                "tenants": {"acme": {"namespace": namespace.name}},
                "sidecar_image": IMAGE,
                "cpu_request_ratio": 0.02,
                "image_patience_seconds": 3,
                "memory_overhead": {"factor": 0.0, "min": "32m"},
                **config,
            }
        )
        self._stack = stack
        self._opened = ExitStack()
        self.backend = self._open()

    @classmethod
    @contextmanager
    def open(cls, namespace: TenantNamespace, address: str | None = None, **config: Any) -> "Iterator[ClusterWorld]":
        """The world; in the end all its Jobs go."""
        with ExitStack() as stack:
            world = cls(namespace, stack, address, **config)
            stack.callback(world.close)
            yield world

    def _open(self) -> KubernetesBackend:
        self.api = self._opened.enter_context(self.namespace.api(self._address, watch_seconds=5, silence_seconds=3))
        backend = KubernetesBackend(self.api, self.config, self.platform)
        self._opened.callback(backend.close)
        return backend

    def restart(self) -> None:
        self._opened.close()
        self.backend = self._open()

    def close(self) -> None:
        self._opened.close()
        mine = f"{names.CLUSTER}={self.platform.cluster}"
        self.kubectl("delete", "jobs", "-n", self.namespace.name, "-l", mine, "--wait=false")
        self.kubectl("delete", "pods", "-n", self.namespace.name, "-l", mine, "--grace-period=1", "--wait=true")

    def spec(self, parameters: dict[str, Any] | None = None, **changes: Any) -> JobSpec:
        return a_spec(parameters, **{"image": IMAGE, **changes})

    def starts(self, spec: JobSpec) -> int:
        """The kubelet says each start of a container, and the API server keeps what it says for an hour."""
        listed = json.loads(self.kubectl("get", "events", "-n", self.namespace.name, "--field-selector=reason=Started", "-o", "json"))
        about = [event["involvedObject"] for event in listed["items"]]
        return sum(each["name"].startswith(f"{spec.name}-") and each["fieldPath"] == "spec.containers{driver}" for each in about)

    def release(self, *specs: JobSpec) -> None:
        for spec in specs:
            self.kubectl("exec", "-n", self.namespace.name, self.pod_name(spec), "-c", names.DRIVER, "--", "touch", GATE)

    def pod_name(self, spec: JobSpec) -> str:
        """The name of the driver's pod, once there is one."""
        return str(self.pod(spec)["metadata"]["name"])

    def pod(self, spec: JobSpec) -> dict[str, Any]:
        """The driver's pod, once there is one."""
        found = eventually(lambda: self._pods(spec), "the driver's pod", self.patience)
        assert len(found) == 1
        return found[0]

    def job(self, spec: JobSpec) -> dict[str, Any]:
        """The Job as it is."""
        job = self.namespace.cluster.get("job", spec.name, self.namespace.name)
        assert job is not None
        return job

    def events(self) -> list[dict[str, Any]]:
        """What the cluster complained of in the namespace."""
        listed = json.loads(self.kubectl("get", "events", "-n", self.namespace.name, "--field-selector=type=Warning", "-o", "json"))
        found: list[dict[str, Any]] = listed["items"]
        return found

    def remember(self, name: str, spec: JobSpec) -> None:
        """With STRATUM_REMEMBER set, keep what the cluster says of a job for the tests that have no cluster."""
        if not os.environ.get("STRATUM_REMEMBER"):
            return
        pods = self._pods(spec)
        about = {spec.name, *(pod["metadata"]["name"] for pod in pods)}
        events = [event for event in self.events() if event["involvedObject"]["name"] in about]
        job = self.job(spec)
        for each in (job, *pods, *events):
            each["metadata"].pop("managedFields", None)
        SEEN.mkdir(exist_ok=True)
        text = json.dumps({"job": job, "pod": pods[0] if pods else None, "events": events}, indent=1)
        (SEEN / f"{name}.json").write_text(text + "\n", encoding="utf-8")

    def _pods(self, spec: JobSpec) -> list[dict[str, Any]]:
        return self.namespace.cluster.items("pods", self.namespace.name, f"{names.JOB_OF_POD}={spec.name}")
