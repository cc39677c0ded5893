"""The chart, installed and asked like any other platform."""

import base64
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from botocore.exceptions import BotoCoreError, ClientError

from tests.cluster.cluster import ROOT, Cluster, PortForward, free_port
from tests.e2e.platform import Installation, wait_for

NAME, NAMESPACE, JOBS = "stratum-test", "stratum-test", "stratum-test-local"
CHART = ROOT / "helm" / "stratum"
VALUES = [CHART / "ci" / "dev.yaml", ROOT / "tests" / "cluster" / "values.yaml"]


class Release(Installation):
    """One installed release. `JOBS` is the namespace of its one tenant, `local`."""

    def __init__(self, cluster: Cluster, s3_port: int) -> None:
        super().__init__({}, {})
        self.cluster = cluster
        self.s3_port = s3_port
        self._ports: tuple[PortForward, ...] = ()

    def install(self) -> None:
        """Install or upgrade, and wait until all of it is ready."""
        self.cluster.helm(
            "upgrade", "--install", NAME, str(CHART), "-n", NAMESPACE, *self.settings(), "--wait", "--wait-for-jobs", "--timeout", "10m"
        )

    def settings(self) -> list[str]:
        """Arguments of `helm` that set values."""
        given = [argument for path in VALUES for argument in ("-f", str(path))]
        # a release outlives its session, and new images have the tag of the old: by this alone pods that run the old ones are replaced
        marks = (self.cluster.get("configmap", f"stratum-{mark}", "default") for mark in ("images", "test-images"))
        images = ".".join(mark["data"]["inputs"] if mark else "" for mark in marks)
        return [
            *given,
            *("--set", f"s3.publicEndpoint=http://127.0.0.1:{self.s3_port}"),
            *("--set-string", rf"defaults.podAnnotations.stratum\.dev/images={images}"),
        ]

    @contextmanager
    def connected(self) -> Iterator[None]:
        """Reach it from this machine, by forwarded ports as a person would."""
        with PortForward(NAMESPACE, f"{NAME}-api", 80) as api, PortForward(NAMESPACE, f"{NAME}-minio", 9000, self.s3_port) as s3:
            self._ports = (api, s3)
            token, keys = self.secret(f"{NAME}-api-key"), self.secret(f"{NAME}-s3")
            self.document = {
                "url": f"http://127.0.0.1:{api.local}",
                "token": token["api-key"],
                "s3": {
                    "endpoint": f"http://127.0.0.1:{self.s3_port}",
                    "bucket": "stratum",
                    "access_key": keys["access-key"],
                    "secret_key": keys["secret-key"],
                },
            }
            self._environment = {**os.environ, "STRATUM_URL": self.document["url"], "STRATUM_TOKEN": self.document["token"]}
            yield

    @contextmanager
    def by_service_address(self) -> Iterator[None]:
        """Reach the API by its Service, as pods do, and not through the API server as forwarded ports. This machine must be a node."""
        service = self.cluster.get("service", f"{NAME}-api", NAMESPACE)
        assert service is not None
        forwarded = self.document["url"]
        self.document["url"] = f"http://{service['spec']['clusterIP']}"
        try:
            yield
        finally:
            self.document["url"] = forwarded

    def at(self, url: str) -> Installation:
        """The same release, asked at another address."""
        return Installation({**self._environment, "STRATUM_URL": url}, {**self.document, "url": url})

    def await_answer(self) -> None:
        """Reach the pods that are there now, after an upgrade replaced those that were."""
        for port in self._ports:
            port.again()

        def answers() -> bool:
            try:
                with self.http as http:
                    self.s3.list_buckets()
                    return http.get("/readyz").status_code == 200
            except (httpx.HTTPError, BotoCoreError, ClientError):
                return False

        wait_for(answers, 120, lambda: "the release to answer")

    def secret(self, name: str) -> dict[str, str]:
        """The texts of a Secret."""
        found = self.cluster.get("secret", name, NAMESPACE)
        assert found is not None, f"there is no Secret {name}"
        return {key: base64.b64decode(value).decode() for key, value in found["data"].items()}

    def pods(self, component: str) -> list[dict[str, Any]]:
        """Pods of one of the services."""
        return self.cluster.items("pods", NAMESPACE, f"app.kubernetes.io/instance={NAME},app.kubernetes.io/component={component}")

    def kill(self, component: str) -> None:
        """SIGKILL to all pods of a service, as a node that dies would; their controller makes new ones."""
        names = [pod["metadata"]["name"] for pod in self.pods(component)]
        self.cluster.kubectl("delete", "pod", "-n", NAMESPACE, "--grace-period=0", "--force", *names)

    def await_ready(self, component: str) -> None:
        """Wait until the deployment of a service is as it should be."""
        self.cluster.kubectl("rollout", "status", "-n", NAMESPACE, f"deployment/{NAME}-{component}", "--timeout=180s")

    # -- runs ------------------------------------------------------------------------------------------------------------

    def job_objects(self, process_id: str) -> list[dict[str, Any]]:
        """The Jobs of a process, the first attempt first."""
        jobs = self.cluster.items("jobs", JOBS, f"stratum.dev/process-id={process_id}")
        return sorted(jobs, key=lambda job: int(job["metadata"]["labels"]["stratum.dev/attempt"]))

    def run_pods(self, process_id: str, component: str) -> list[dict[str, Any]]:
        """Driver or executor pods of a process."""
        return self.cluster.items("pods", JOBS, f"stratum.dev/process-id={process_id},app.kubernetes.io/component={component}")

    def await_pods(self, process_id: str, component: str, count: int = 1, seconds: float = 120) -> list[dict[str, Any]]:
        """Wait for so many running pods of a process."""
        found: list[dict[str, Any]] = []

        def there() -> bool:
            pods = self.run_pods(process_id, component)
            found[:] = [pod for pod in pods if pod["status"]["phase"] == "Running"]
            return len(found) >= count

        wait_for(there, seconds, lambda: f"{count} running {component} pods of {process_id}; there are {len(found)}")
        return found

    def assert_nothing_left(self, process_id: str) -> None:
        """No pod of the process is left running, and no Secret whose Job is gone."""
        wait_for(
            lambda: all(
                pod["status"]["phase"] in ("Succeeded", "Failed")
                for pod in self.cluster.items("pods", JOBS, f"stratum.dev/process-id={process_id}")
            ),
            120,
            lambda: f"the pods of {process_id} to end",
        )


@contextmanager
def installed(cluster: Cluster) -> Iterator[Release]:
    """A release for the time of the block."""
    release = Release(cluster, free_port())
    cluster.kubectl("create", "namespace", NAMESPACE, check=False)
    cluster.kubectl("label", "namespace", NAMESPACE, "--overwrite", "pod-security.kubernetes.io/enforce=restricted")
    release.install()
    with release.connected():
        yield release
