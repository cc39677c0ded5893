"""The driver's pod: one container with Spark, and a sidecar that ships its output and outlives it."""

from contracts.layout import StorageRoot
from launcher.job import JobSpec
from launcher.kubernetes import names
from launcher.kubernetes.config import KubernetesConfig, Place
from launcher.kubernetes.containers import (
    CONTAINER_SECURITY,
    POD_SECURITY,
    Document,
    ca_folder,
    empty_dir,
    jvm_resources,
    placement,
    work_folders,
)
from launcher.kubernetes.platform import Platform
from launcher.kubernetes.spark_arguments import BLOCK_MANAGER_PORT, DRIVER_PORT, driver_arguments
from launcher.sizing import is_short

_LOG_MOUNT = {"name": "logs", "mountPath": names.LOG_DIR}
_SIDECAR_RESOURCES = {"requests": {"cpu": "10m", "memory": "128Mi"}, "limits": {"memory": "128Mi"}}


def driver_pod(spec: JobSpec, place: Place, config: KubernetesConfig, platform: Platform, secret_name: str) -> Document:
    """The spec of the driver's pod. `secret_name`: the Secret with the command, which need not exist yet."""
    work_volumes, _ = work_folders(config)
    ca_volumes, _, _ = ca_folder(config)
    command = {"name": names.COMMAND_VOLUME, "secret": {"secretName": secret_name, "defaultMode": 0o440}}
    return {
        "restartPolicy": "Never",
        "activeDeadlineSeconds": spec.command.time_limit_seconds,
        "terminationGracePeriodSeconds": max(1, round(platform.kill_grace_seconds)),
        "serviceAccountName": place.service_account,
        "automountServiceAccountToken": True,
        "enableServiceLinks": False,
        "securityContext": POD_SECURITY,
        **placement(config, place.priority_class),
        "initContainers": [_sidecar(spec, place, config, platform)],
        "containers": [_driver(spec, place, config, platform)],
        "volumes": [command, *work_volumes, empty_dir("logs", config.ephemeral_storage.log_size_limit), *ca_volumes],
    }


def _driver(spec: JobSpec, place: Place, config: KubernetesConfig, platform: Platform) -> Document:
    _, work_mounts = work_folders(config)
    _, ca_mounts, _ = ca_folder(config)
    environment = [
        *_identity(),
        *_storage(place, config, platform),
        {"name": "STRATUM_EXECUTOR_DEADLINE_SECONDS", "value": str(config.executor_deadline_seconds)},
        {"name": "STRATUM_DRIVER_HEAP", "value": spec.resources.driver_memory},
        {"name": "STRATUM_LOG_FILE", "value": names.LOG_FILE},
    ]
    if is_short(spec.command):
        environment.append({"name": "STRATUM_SHORT_RUN", "value": "1"})
    return {
        "name": names.DRIVER,
        "image": spec.command.image,
        "imagePullPolicy": config.image_pull_policy,
        "args": driver_arguments(spec, place, config, platform),
        "env": environment,
        "ports": [{"name": "driver", "containerPort": DRIVER_PORT}, {"name": "blocks", "containerPort": BLOCK_MANAGER_PORT}],
        "resources": jvm_resources(spec.resources.driver_cores, spec.resources.driver_memory, config),
        "securityContext": CONTAINER_SECURITY,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": names.COMMAND_VOLUME, "mountPath": names.COMMAND_DIR, "readOnly": True},
            *work_mounts,
            _LOG_MOUNT,
            *ca_mounts,
        ],
    }


def _sidecar(spec: JobSpec, place: Place, config: KubernetesConfig, platform: Platform) -> Document:
    """An init container that is kept running: it starts before the driver and ends after it, whatever the driver dies of."""
    _, ca_mounts, _ = ca_folder(config)
    return {
        "name": names.LOGS,
        "restartPolicy": "Always",
        "image": config.sidecar_image,
        "imagePullPolicy": config.image_pull_policy,
        "args": ["ship-log"],
        "env": [
            *_identity(),
            *_storage(place, config, platform),
            {"name": "STRATUM_LOG_FILE", "value": names.LOG_FILE},
            {"name": "STRATUM_LOG_PREFIX", "value": _log_prefix(spec)},
        ],
        "resources": _SIDECAR_RESOURCES,
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}, _LOG_MOUNT, *ca_mounts],  # noqa: S108
    }


def _identity() -> list[Document]:
    """What a container knows of its own pod; its uid is the id of the run."""
    fields = {
        "POD_NAME": "metadata.name",
        "POD_IP": "status.podIP",
        "POD_NAMESPACE": "metadata.namespace",
        "STRATUM_RUN_ID": "metadata.uid",
    }
    return [{"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in fields.items()]


def _storage(place: Place, config: KubernetesConfig, platform: Platform) -> list[Document]:
    secret = place.s3_secret
    keys = {"STRATUM_S3_ACCESS_KEY": secret.access_key, "STRATUM_S3_SECRET_KEY": secret.secret_key}
    _, _, ca_environment = ca_folder(config)
    return [
        {"name": "STRATUM_S3_ENDPOINT", "value": platform.s3_endpoint},
        {"name": "STRATUM_S3_REGION", "value": platform.s3_region},
        *({"name": name, "valueFrom": {"secretKeyRef": {"name": secret.name, "key": key}}} for name, key in keys.items()),
        *ca_environment,
    ]


def _log_prefix(spec: JobSpec) -> str:
    root = StorageRoot.parse(spec.command.storage_root)
    return f"s3://{root.bucket}/{root.log_prefix(spec.command.process_id, spec.command.step, spec.command.attempt)}"
