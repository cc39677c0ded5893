"""The template that Spark makes executor pods from: all that Spark itself cannot be told by its settings."""

from launcher.job import JobSpec
from launcher.kubernetes import names
from launcher.kubernetes.config import KubernetesConfig, Place
from launcher.kubernetes.containers import (
    CONTAINER_SECURITY,
    POD_SECURITY,
    Document,
    ca_folder,
    placement,
    pod_metadata,
    storage_resources,
    work_folders,
)
from launcher.kubernetes.platform import Platform


def executor_template(spec: JobSpec, place: Place, config: KubernetesConfig, platform: Platform) -> Document:
    """The template; Spark adds name, image, arguments, memory, processors, environment and owner."""
    work_volumes, work_mounts = work_folders(config)
    ca_volumes, ca_mounts, ca_environment = ca_folder(config)
    container: Document = {
        "name": names.EXECUTOR,
        "env": ca_environment,
        "securityContext": CONTAINER_SECURITY,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [*work_mounts, *ca_mounts],
    }
    request, limit = storage_resources(config.ephemeral_storage)
    if request or limit:
        container["resources"] = {"requests": request, "limits": limit}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": pod_metadata(names.labels(platform.cluster, spec.attempt, names.EXECUTOR), config),
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": POD_SECURITY,
            **placement(config, place.priority_class),
            "containers": [container],
            "volumes": [*work_volumes, *ca_volumes],
        },
    }
