"""Names that the cluster and the containers know: labels, annotations, paths."""

from typing import Final

from contracts.command import AttemptRef

CLUSTER: Final = "stratum.dev/cluster"
TENANT: Final = "stratum.dev/tenant"
PROCESS_ID: Final = "stratum.dev/process-id"
STEP: Final = "stratum.dev/step"
ATTEMPT: Final = "stratum.dev/attempt"
COMPONENT: Final = "app.kubernetes.io/component"
JOB_OF_POD: Final = "batch.kubernetes.io/job-name"
QUEUE: Final = "kueue.x-k8s.io/queue-name"

DIGEST: Final = "stratum.dev/digest"
RESOURCES: Final = "stratum.dev/resources"
STORAGE_ROOT: Final = "stratum.dev/storage-root"
TIME_LIMIT: Final = "stratum.dev/time-limit"
END_WISH: Final = "stratum.dev/end-wish"

DRIVER: Final = "driver"
EXECUTOR: Final = "executor"
LOGS: Final = "logs"

COMMAND_VOLUME: Final = "command"
COMMAND_DIR: Final = "/etc/stratum/command"
COMMAND_KEY: Final = "command.json"
EXECUTOR_TEMPLATE_KEY: Final = "executor-pod.yaml"
CA_DIR: Final = "/etc/stratum/ca"
CA_FILE: Final = "ca.crt"
WORK_DIR: Final = "/var/stratum/work"
LOG_DIR: Final = "/var/log/stratum"
LOG_FILE: Final = "/var/log/stratum/driver.log"

USER_ID: Final = 185
"""Of all our images, with an entry in their passwd file: Hadoop fails on an unknown user."""


def managed_labels(cluster: str) -> dict[str, str]:
    """What tells the Jobs of this Stratum from all others."""
    return {"app.kubernetes.io/name": "stratum-run", "app.kubernetes.io/managed-by": "stratum", CLUSTER: cluster}


def labels(cluster: str, attempt: AttemptRef, component: str) -> dict[str, str]:
    """Labels of everything that is made for an attempt."""
    return {
        **managed_labels(cluster),
        COMPONENT: component,
        TENANT: attempt.tenant,
        PROCESS_ID: str(attempt.process_id),
        STEP: str(attempt.step),
        ATTEMPT: str(attempt.attempt),
    }


def selector(of: dict[str, str]) -> str:
    """The labels as the API server takes them to choose by."""
    return ",".join(f"{name}={value}" for name, value in of.items())
