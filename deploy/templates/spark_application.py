"""The same run as a `SparkApplication`, for those whose cluster starts Spark by an operator.

An operator calls `spark-submit --deploy-mode cluster`, which makes the driver's pod itself; so the Job's pod becomes a template,
and the settings that this mode works out for itself are left out. Stratum's launcher makes Jobs; it does not make these.
"""

import copy
from typing import Any

from launcher.job import JobSpec
from launcher.kubernetes.config import KubernetesConfig
from launcher.kubernetes.containers import Document, cpu_request, overhead_mebibytes
from launcher.kubernetes.executor_pod import executor_template
from launcher.kubernetes.platform import Platform
from launcher.kubernetes.spark_arguments import driver_conf

SPARK_VERSION = "4.1.2"
DRIVER, EXECUTOR = "spark-kubernetes-driver", "spark-kubernetes-executor"
PROGRAM = "local:///opt/stratum/bin/run-module.py"
# Spark gives the container: driver --properties-file FILE --class PythonRunner PROGRAM MODULE ARGUMENTS...
COMMAND = [
    "/bin/bash",
    "-c",
    'exec tini -g -- /opt/stratum/bin/entrypoint driver --deploy-mode client --properties-file "$2"'
    ' --conf "spark.driver.bindAddress=$SPARK_DRIVER_BIND_ADDRESS" -- "${@:6}"',
]
_WORKED_OUT = (
    "spark.driver.host",
    "spark.driver.memory",
    "spark.executor.cores",
    "spark.executor.instances",
    "spark.executor.memory",
    "spark.executor.memoryOverhead",
    "spark.kubernetes.namespace",
    "spark.kubernetes.driver.pod.name",
    "spark.kubernetes.driver.service.deleteOnTermination",
    "spark.kubernetes.executor.request.cores",
    "spark.kubernetes.container.image",
    "spark.kubernetes.container.image.pullPolicy",
    "spark.kubernetes.executor.podTemplateFile",
    "spark.kubernetes.executor.podTemplateContainerName",
    "spark.kubernetes.authenticate.driver.serviceAccountName",
)


def kubeflow_application(spec: JobSpec, config: KubernetesConfig, platform: Platform, job: Document) -> Document:
    """For the Kubeflow Spark operator."""
    resources = spec.resources
    return {
        "apiVersion": "sparkoperator.k8s.io/v1beta2",
        "kind": "SparkApplication",
        "metadata": _metadata(job),
        "spec": {
            "type": "Python",
            "mode": "cluster",
            "sparkVersion": SPARK_VERSION,
            "image": spec.command.image,
            "imagePullPolicy": config.image_pull_policy,
            "mainApplicationFile": PROGRAM,
            "arguments": _arguments(spec),
            "restartPolicy": {"type": "Never"},
            "timeToLiveSeconds": config.job_ttl_seconds,
            "sparkConf": _conf(spec, config, platform),
            "driver": {
                "cores": resources.driver_cores,
                "coreRequest": cpu_request(resources.driver_cores, config.cpu_request_ratio),
                "memory": resources.driver_memory,
                "memoryOverhead": f"{overhead_mebibytes(resources.driver_memory, config.memory_overhead)}m",
                "serviceAccount": config.place(spec.command.tenant).service_account,
                "template": driver_template(job),
            },
            "executor": {
                "instances": resources.executor_instances,
                "cores": resources.executor_cores,
                "coreRequest": cpu_request(resources.executor_cores, config.cpu_request_ratio),
                "memory": resources.executor_memory,
                "memoryOverhead": f"{overhead_mebibytes(resources.executor_memory, config.memory_overhead)}m",
                "serviceAccount": config.executor_service_account,
                "template": executor_pod(spec, config, platform),
            },
        },
    }


def apache_application(spec: JobSpec, config: KubernetesConfig, platform: Platform, job: Document) -> Document:
    """For the Apache Spark Kubernetes operator, which takes all sizes as Spark's own settings."""
    resources = spec.resources
    sizes = {
        "spark.kubernetes.container.image": spec.command.image,
        "spark.kubernetes.container.image.pullPolicy": config.image_pull_policy,
        "spark.kubernetes.authenticate.driver.serviceAccountName": config.place(spec.command.tenant).service_account,
        "spark.driver.cores": str(resources.driver_cores),
        "spark.driver.memory": resources.driver_memory,
        "spark.driver.memoryOverhead": f"{overhead_mebibytes(resources.driver_memory, config.memory_overhead)}m",
        "spark.kubernetes.driver.request.cores": cpu_request(resources.driver_cores, config.cpu_request_ratio),
        "spark.executor.instances": str(resources.executor_instances),
        "spark.executor.cores": str(resources.executor_cores),
        "spark.executor.memory": resources.executor_memory,
        "spark.executor.memoryOverhead": f"{overhead_mebibytes(resources.executor_memory, config.memory_overhead)}m",
        "spark.kubernetes.executor.request.cores": cpu_request(resources.executor_cores, config.cpu_request_ratio),
    }
    return {
        "apiVersion": "spark.apache.org/v1",
        "kind": "SparkApplication",
        "metadata": _metadata(job),
        "spec": {
            "pyFiles": PROGRAM,
            "driverArgs": _arguments(spec),
            "sparkConf": {**sizes, **_conf(spec, config, platform)},
            "driverSpec": {"podTemplateSpec": driver_template(job)},
            "executorSpec": {"podTemplateSpec": executor_pod(spec, config, platform)},
            "applicationTolerations": {"restartConfig": {"restartPolicy": "Never"}},
            "runtimeVersions": {"sparkVersion": SPARK_VERSION},
        },
    }


def driver_template(job: Document) -> Document:
    """The pod of a Job as a template: what Spark itself puts in is left out."""
    template: Document = copy.deepcopy(job["spec"]["template"])
    driver = template["spec"]["containers"][0]
    for given in ("image", "imagePullPolicy", "args", "resources", "ports"):
        driver.pop(given, None)
    driver |= {"name": DRIVER, "command": COMMAND}
    return template


def executor_pod(spec: JobSpec, config: KubernetesConfig, platform: Platform) -> dict[str, Any]:
    """The template of executors, its container named as operators look for it."""
    template = executor_template(spec, config.place(spec.command.tenant), config, platform)
    template["spec"]["containers"][0]["name"] = EXECUTOR
    return {"metadata": template["metadata"], "spec": template["spec"]}


def _metadata(job: Document) -> Document:
    return {key: job["metadata"][key] for key in ("name", "namespace", "labels", "annotations")}


def _arguments(spec: JobSpec) -> list[str]:
    return [spec.command.entry_point, "run", "--command", "/etc/stratum/command/command.json"]


def _conf(spec: JobSpec, config: KubernetesConfig, platform: Platform) -> dict[str, str]:
    conf = driver_conf(spec, config.place(spec.command.tenant), config, platform)
    return {name: value for name, value in conf.items() if name not in _WORKED_OUT}
