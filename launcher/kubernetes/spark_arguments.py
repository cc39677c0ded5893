"""How Spark is told to run its driver in this pod and its executors in others: `--deploy-mode client` on Kubernetes.

The container's `$(NAME)` are filled in by the kubelet from its environment.
"""

from typing import Final

from contracts.spark_conf import spark_conf
from launcher.job import JobSpec
from launcher.kubernetes import names
from launcher.kubernetes.config import KubernetesConfig, Place
from launcher.kubernetes.containers import cpu_request, overhead_mebibytes
from launcher.kubernetes.platform import Platform
from launcher.sizing import is_short

MASTER: Final = "k8s://https://kubernetes.default.svc"
DRIVER_PORT: Final = 7078
BLOCK_MANAGER_PORT: Final = 7079


def driver_arguments(spec: JobSpec, place: Place, config: KubernetesConfig, platform: Platform) -> list[str]:
    """Arguments of the driver's container; the image brings the program that takes them."""
    arguments = ["driver", "--master", MASTER, "--deploy-mode", "client", "--name", spec.name]
    for name, value in driver_conf(spec, place, config, platform).items():
        arguments += ["--conf", f"{name}={value}"]
    return [*arguments, "--", spec.command.entry_point, "run", "--command", f"{names.COMMAND_DIR}/{names.COMMAND_KEY}"]


def driver_conf(spec: JobSpec, place: Place, config: KubernetesConfig, platform: Platform) -> dict[str, str]:
    """Spark's settings for one run."""
    return {
        **spark_conf(platform.s3_endpoint, platform.s3_region, shuffle_partitions=spec.resources.shuffle_partitions),
        **_driver(spec),
        **_executors(spec, place, config),
        **_allocation(spec, config),
    }


def _driver(spec: JobSpec) -> dict[str, str]:
    return {
        "spark.driver.memory": spec.resources.driver_memory,
        "spark.driver.host": "$(POD_IP)",
        "spark.driver.port": str(DRIVER_PORT),
        "spark.blockManager.port": str(BLOCK_MANAGER_PORT),
        # executors and driver prove to each other that they belong together
        "spark.authenticate": "true",
        "spark.local.dir": names.WORK_DIR,
        "spark.hadoop.hadoop.tmp.dir": names.WORK_DIR,
        "spark.sql.warehouse.dir": f"{names.WORK_DIR}/warehouse",
        "spark.kubernetes.namespace": "$(POD_NAMESPACE)",
        # the driver's pod owns its executors: they never outlive it
        "spark.kubernetes.driver.pod.name": "$(POD_NAME)",
        # Spark would otherwise ask to see claims and services that we never make
        "spark.kubernetes.driver.ownPersistentVolumeClaim": "false",
        "spark.kubernetes.driver.reusePersistentVolumeClaim": "false",
        "spark.kubernetes.driver.service.deleteOnTermination": "false",
    }


def _executors(spec: JobSpec, place: Place, config: KubernetesConfig) -> dict[str, str]:
    resources = spec.resources
    short = {"spark.executorEnv.STRATUM_SHORT_RUN": "1"} if is_short(spec.command) else {}
    return {
        "spark.executor.cores": str(resources.executor_cores),
        "spark.executor.memory": resources.executor_memory,
        "spark.executor.memoryOverhead": f"{overhead_mebibytes(resources.executor_memory, config.memory_overhead)}m",
        "spark.kubernetes.executor.request.cores": cpu_request(resources.executor_cores, config.cpu_request_ratio),
        "spark.kubernetes.container.image": spec.command.image,
        "spark.kubernetes.container.image.pullPolicy": config.image_pull_policy,
        "spark.kubernetes.authenticate.driver.serviceAccountName": place.service_account,
        "spark.kubernetes.authenticate.executor.serviceAccountName": config.executor_service_account,
        "spark.kubernetes.executor.podNamePrefix": spec.name,
        "spark.kubernetes.executor.podTemplateFile": f"{names.COMMAND_DIR}/{names.EXECUTOR_TEMPLATE_KEY}",
        "spark.kubernetes.executor.podTemplateContainerName": names.EXECUTOR,
        "spark.kubernetes.executor.deleteOnTermination": "true",
        # its only content, the settings, comes to executors from the driver; without it drivers need no right on ConfigMaps
        "spark.kubernetes.executor.disableConfigMap": "true",
        **short,
    }


def _allocation(spec: JobSpec, config: KubernetesConfig) -> dict[str, str]:
    most = str(spec.resources.executor_instances)
    if config.executors.allocation == "fixed":
        return {"spark.executor.instances": most}
    return {
        "spark.dynamicAllocation.enabled": "true",
        # there is no shuffle service on Kubernetes: whoever holds shuffle files is kept while they are needed
        "spark.dynamicAllocation.shuffleTracking.enabled": "true",
        "spark.dynamicAllocation.minExecutors": "1",
        "spark.dynamicAllocation.initialExecutors": "1",
        "spark.dynamicAllocation.maxExecutors": most,
    }
