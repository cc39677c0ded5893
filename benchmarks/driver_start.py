"""How fast a driver and its executor start on a cluster, with the image's archive of classes and without, in turns.

    STRATUM_TEST_CLUSTER=disposable KUBECONFIG=... python -m benchmarks.driver_start [--image IMAGE] [--rounds 5]

Each round starts one driver of each kind under Pod Security `restricted`. It starts a session, and computes one sum on one executor.
Processor seconds say more than elapsed ones on a machine that does other things too.
"""

import argparse
import json
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from contracts.access import access_of
from contracts.identifiers import new_id
from launcher.kubernetes import names
from launcher.kubernetes.containers import CONTAINER_SECURITY, POD_SECURITY
from tests.cluster.cluster import Cluster
from tests.e2e.platform import wait_for

PROGRAM = """
import json, os, time
from pathlib import Path
from pyspark.sql import SparkSession

def processor_seconds(process):
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

def parent(process):
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])

def age(process):
    started = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    return float(Path("/proc/uptime").read_text().split()[0]) - started

def of_executor(_):
    return processor_seconds(parent(os.getppid()))  # worker, its daemon, the JVM

spark = SparkSession.builder.getOrCreate()
ready = age(1)
spark.range(1_000_000).selectExpr("sum(id)").collect()
driver = processor_seconds(os.getppid()) + processor_seconds("self")
seconds = {"session ready, s": ready, "first result, s": age(1), "driver, CPU s": driver}
seconds["executor, CPU s"] = spark.sparkContext.parallelize([0], 1).map(of_executor).first()
print("MEASURED " + json.dumps(seconds), flush=True)
spark.stop()
"""
FOLDERS = (names.WORK_DIR, "/tmp")  # noqa: S108  # the container's


@contextmanager
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace for drivers; it goes in the end."""
    name = f"bench-{new_id().hex[-12:]}"
    rules = [{"apiGroups": [row.api_group], "resources": [row.resource], "verbs": list(row.verbs)} for row in access_of("driver", "tenant")]
    meta = {"name": "stratum-driver", "namespace": name}
    account = {"kind": "ServiceAccount", "name": "stratum-driver", "namespace": name}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "stratum-driver"}
    try:
        cluster.kubectl("create", "namespace", name)
        cluster.kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
        cluster.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta})
        cluster.apply({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": meta, "rules": rules})
        cluster.apply(
            {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": meta, "roleRef": role, "subjects": [account]}
        )
        template = {"apiVersion": "v1", "kind": "Pod", "spec": _restricted("executor", [])}
        files = {"measure.py": PROGRAM, "executor.json": json.dumps(template)}
        cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "files", "namespace": name}, "data": files})
        yield name
    finally:
        cluster.kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")


def measure(cluster: Cluster, name: str, image: str, *, archive: bool, short: bool) -> dict[str, float]:
    """Start a driver; what it measured."""
    pod = f"driver-{new_id().hex[-8:]}"
    cluster.apply(_driver(name, pod, image, archive=archive, short=short))

    def ended() -> bool:
        return cluster.kubectl("get", "pod", pod, "-n", name, "-o", "jsonpath={.status.phase}") in ("Succeeded", "Failed")

    wait_for(ended, 300, lambda: pod)
    log = cluster.kubectl("logs", pod, "-n", name)
    line = next((line for line in log.splitlines() if line.startswith("MEASURED ")), None)
    assert line is not None, log
    cluster.kubectl("delete", "pod", pod, "-n", name)
    measured: dict[str, float] = json.loads(line.removeprefix("MEASURED "))
    return measured


def _restricted(container: str, more: list[dict[str, Any]]) -> dict[str, Any]:
    folders = [{"name": f"folder-{number}", "mountPath": folder} for number, folder in enumerate(FOLDERS)]
    volumes: list[dict[str, Any]] = [{"name": each["name"], "emptyDir": {}} for each in folders]
    # Spark mounts its own folder for scratch
    mounts = folders if container == "driver" else folders[1:]
    return {
        "automountServiceAccountToken": container == "driver",
        "securityContext": POD_SECURITY,
        "containers": [{"name": container, "securityContext": CONTAINER_SECURITY, "volumeMounts": [*mounts, *more]}],
        "volumes": volumes,
    }


def _driver(namespace: str, name: str, image: str, *, archive: bool, short: bool) -> dict[str, Any]:
    conf = {
        "spark.ui.enabled": "false",
        "spark.log.level": "WARN",
        "spark.sql.catalogImplementation": "in-memory",
        "spark.driver.host": "$(POD_IP)",
        "spark.kubernetes.driver.pod.name": name,
        "spark.kubernetes.namespace": namespace,
        "spark.kubernetes.container.image": image,
        "spark.kubernetes.executor.podTemplateFile": "/files/executor.json",
        "spark.kubernetes.executor.podTemplateContainerName": "executor",
        "spark.kubernetes.executor.request.cores": "100m",
        "spark.kubernetes.executor.disableConfigMap": "true",
        "spark.executor.instances": "1",
        "spark.executor.memory": "512m",
        "spark.local.dir": names.WORK_DIR,
    }
    environment = {"STRATUM_DRIVER_HEAP": "512m", "PYTHONPATH": "/files"}
    if not archive:
        environment["STRATUM_CLASS_ARCHIVE"] = conf["spark.executorEnv.STRATUM_CLASS_ARCHIVE"] = "/none"
    if short:
        environment["STRATUM_SHORT_RUN"] = conf["spark.executorEnv.STRATUM_SHORT_RUN"] = "1"
    spec = _restricted("driver", [{"name": "files", "mountPath": "/files"}])
    spec["containers"][0] |= {
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": [
            *("driver", "--master", "k8s://https://kubernetes.default.svc"),
            *(part for key, value in conf.items() for part in ("--conf", f"{key}={value}")),
            *("--", "measure"),
        ],
        "env": [
            {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            *({"name": key, "value": value} for key, value in environment.items()),
        ],
        "resources": {"requests": {"cpu": "100m", "memory": "1Gi"}, "limits": {"memory": "1Gi"}},
    }
    spec["volumes"].append({"name": "files", "configMap": {"name": "files"}})
    spec |= {"restartPolicy": "Never", "serviceAccountName": "stratum-driver"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def main() -> None:
    """Print the medians and their ratio."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.driver_start", description=__doc__)
    parser.add_argument("--image", default="localhost/stratum/spark:dev")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--short", action="store_true", help="as runs over little data start: without the optimizing compiler")
    options = parser.parse_args()
    cluster = Cluster()
    found: dict[bool, list[dict[str, float]]] = {True: [], False: []}
    with namespace(cluster) as name:
        for _ in range(options.rounds):
            for archive in found:
                found[archive].append(measure(cluster, name, options.image, archive=archive, short=options.short))
    print(f"{'median of ' + str(options.rounds):20} {'without':>9} {'with':>9} {'ratio':>7}")
    for what in found[True][0]:
        without, with_archive = (statistics.median(each[what] for each in found[archive]) for archive in (False, True))
        print(f"{what:20} {without:9.2f} {with_archive:9.2f} {without / with_archive:6.2f}x")


if __name__ == "__main__":
    main()
