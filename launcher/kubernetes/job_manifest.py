"""The Job of an attempt, and the Secret with its command. Pure functions: the same attempt gives the same Job."""

import json

from launcher.job import JobSpec
from launcher.kubernetes import names
from launcher.kubernetes.config import KubernetesConfig, Place
from launcher.kubernetes.containers import Document, pod_metadata
from launcher.kubernetes.driver_pod import driver_pod
from launcher.kubernetes.executor_pod import executor_template
from launcher.kubernetes.platform import Platform


def job_manifest(spec: JobSpec, place: Place, config: KubernetesConfig, platform: Platform, secret_name: str) -> Document:
    """The Job. Whatever the observer must know of it stands in its labels and annotations, since it never reads Secrets."""
    labels = names.labels(platform.cluster, spec.attempt, names.DRIVER)
    job: Document = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": spec.name,
            "namespace": place.namespace,
            "labels": labels,
            "annotations": {
                names.DIGEST: spec.digest,
                names.RESOURCES: spec.resources.model_dump_json(),
                names.STORAGE_ROOT: spec.command.storage_root,
                names.TIME_LIMIT: str(spec.command.time_limit_seconds),
            },
        },
        "spec": {
            "backoffLimit": 0,
            "ttlSecondsAfterFinished": config.job_ttl_seconds,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": _failure_policy(),
            "template": {
                "metadata": pod_metadata(labels, config),
                "spec": driver_pod(spec, place, config, platform, secret_name),
            },
        },
    }
    if place.queue is not None:
        job["metadata"]["labels"] = {**labels, names.QUEUE: place.queue}
        job["spec"]["suspend"] = True
    return job


def _failure_policy() -> Document:
    """Nothing is tried again; the rules make the Job itself say what became of its pod, which may be gone before anyone looks."""
    disruption = [{"type": "DisruptionTarget", "status": "True"}]
    exit_code = {"containerName": names.DRIVER, "operator": "NotIn", "values": [0]}
    return {"rules": [{"action": "FailJob", "onPodConditions": disruption}, {"action": "FailJob", "onExitCodes": exit_code}]}


def secret_manifest(spec: JobSpec, place: Place, config: KubernetesConfig, platform: Platform, secret_name: str, job_uid: str) -> Document:
    """The Secret with what the driver reads. It goes when its Job goes."""
    template = executor_template(spec, place, config, platform)
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": secret_name,
            "namespace": place.namespace,
            "labels": names.labels(platform.cluster, spec.attempt, names.DRIVER),
            "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": spec.name, "uid": job_uid}],
        },
        "type": "Opaque",
        "immutable": True,
        "stringData": {
            names.COMMAND_KEY: spec.command.model_dump_json(),
            names.EXECUTOR_TEMPLATE_KEY: json.dumps(template),  # JSON is YAML
        },
    }


def command_secret_name(job: Document) -> str:
    """The name of the Secret that a Job's pod waits for."""
    volumes = job["spec"]["template"]["spec"]["volumes"]
    return next(str(each["secret"]["secretName"]) for each in volumes if each["name"] == names.COMMAND_VOLUME)
