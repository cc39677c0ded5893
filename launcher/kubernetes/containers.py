"""What the containers of drivers and executors have in common: rights, memory, processor share, folders."""

import math
from collections.abc import Mapping
from typing import Any

from contracts.command import mebibytes
from launcher.kubernetes import names
from launcher.kubernetes.config import EphemeralStorage, KubernetesConfig, MemoryOverhead

Document = dict[str, Any]
"""A Kubernetes object, or a part of one, as the API server reads it."""

WORK_VOLUME = "spark-local-dir-1"
"""Spark makes a volume of its own for its working folder unless it finds this one."""
CONTAINER_SECURITY: Document = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
POD_SECURITY: Document = {
    "runAsNonRoot": True,
    "runAsUser": names.USER_ID,
    "runAsGroup": names.USER_ID,
    "fsGroup": names.USER_ID,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def overhead_mebibytes(heap: str, overhead: MemoryOverhead) -> int:
    """Memory that a JVM's container needs beside the heap."""
    return max(mebibytes(overhead.min), math.ceil(mebibytes(heap) * overhead.factor))


def cpu_request(cores: int, ratio: float) -> str:
    """The processor share that is reserved for `cores` threads."""
    return f"{max(1, round(cores * ratio * 1000))}m"


def storage_resources(storage: EphemeralStorage) -> tuple[dict[str, str], dict[str, str]]:
    """What is asked for and what may be taken of a node's disk, as parts of `requests` and `limits`."""
    request = {"ephemeral-storage": storage.request} if storage.request else {}
    limit = {"ephemeral-storage": storage.limit} if storage.limit else {}
    return request, limit


def jvm_resources(cores: int, heap: str, config: KubernetesConfig) -> Document:
    """Requests and limits of the container of a JVM.

    Memory is a fixed amount, so that a neighbour's growth ends nobody; processors have no limit, so that idle ones are used.
    """
    memory = f"{mebibytes(heap) + overhead_mebibytes(heap, config.memory_overhead)}Mi"
    request, limit = storage_resources(config.ephemeral_storage)
    return {
        "requests": {"cpu": cpu_request(cores, config.cpu_request_ratio), "memory": memory, **request},
        "limits": {"memory": memory, **limit},
    }


def empty_dir(name: str, size_limit: str | None) -> Document:
    """A folder that lives as long as its pod."""
    return {"name": name, "emptyDir": {"sizeLimit": size_limit} if size_limit else {}}


def work_folders(config: KubernetesConfig) -> tuple[list[Document], list[Document]]:
    """Volumes and mounts for all that a JVM writes: the root file system is read-only."""
    storage = config.ephemeral_storage
    volumes = [empty_dir("tmp", storage.tmp_size_limit), empty_dir(WORK_VOLUME, storage.work_size_limit)]
    return volumes, [{"name": "tmp", "mountPath": "/tmp"}, {"name": WORK_VOLUME, "mountPath": names.WORK_DIR}]  # noqa: S108


def ca_folder(config: KubernetesConfig) -> tuple[list[Document], list[Document], list[Document]]:
    """Volumes, mounts and environment for the private certificate authority, if there is one."""
    if config.ca_config_map is None:
        return [], [], []
    source = {"name": config.ca_config_map.name, "items": [{"key": config.ca_config_map.key, "path": names.CA_FILE}]}
    return (
        [{"name": "ca", "configMap": source}],
        [{"name": "ca", "mountPath": names.CA_DIR, "readOnly": True}],
        [{"name": "STRATUM_CA_BUNDLE", "value": f"{names.CA_DIR}/{names.CA_FILE}"}],
    )


def placement(config: KubernetesConfig, priority_class: str | None) -> Document:
    """Parts of a pod's spec that say where it may run, and before whom."""
    parts: Document = {}
    if config.image_pull_secrets:
        parts["imagePullSecrets"] = [{"name": name} for name in config.image_pull_secrets]
    if config.node_selector:
        parts["nodeSelector"] = dict(config.node_selector)
    if config.tolerations:
        parts["tolerations"] = [each.model_dump(exclude_none=True) for each in config.tolerations]
    if priority_class is not None:
        parts["priorityClassName"] = priority_class
    return parts


def pod_metadata(labels: Mapping[str, str], config: KubernetesConfig) -> Document:
    """Labels and annotations of a pod; the operator's own never stand in for ours."""
    metadata: Document = {"labels": {**config.pod_labels, **labels}}
    if config.pod_annotations:
        metadata["annotations"] = dict(config.pod_annotations)
    return metadata
