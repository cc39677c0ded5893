"""The marks at a Job: what the launcher wrote at it when it made it, and reads again later."""

import structlog

from contracts.command import AttemptRef
from contracts.layout import StorageRoot
from contracts.sizing import Resources
from launcher.job import name_of
from launcher.kubernetes import names
from launcher.kubernetes.containers import Document

log = structlog.get_logger()


def attempt_of(job: Document) -> AttemptRef:
    """Which attempt a Job is of."""
    labels = job["metadata"]["labels"]
    return AttemptRef(
        tenant=labels[names.TENANT],
        process_id=labels[names.PROCESS_ID],
        step=int(labels[names.STEP]),
        attempt=int(labels[names.ATTEMPT]),
    )


def storage_root_of(job: Document) -> str:
    """Where its run keeps data and logs."""
    return StorageRoot.parse(job["metadata"]["annotations"][names.STORAGE_ROOT]).uri


def time_limit_of(job: Document) -> int:
    """How long its run may take, in seconds."""
    return int(job["metadata"]["annotations"][names.TIME_LIMIT])


def resources_of(job: Document) -> Resources:
    """What its run was given."""
    return Resources.model_validate_json(job["metadata"]["annotations"][names.RESOURCES])


def is_ours(job: Document) -> bool:
    """Whether a Job with our labels is as the launcher made it.

    Who may write to a tenant's namespace can copy a Job or take its marks away: what becomes of such a Job says nothing of any attempt,
    and must not keep anybody from hearing of the others.
    """
    trouble = _trouble(job)
    if trouble is not None:
        metadata = job["metadata"]
        log.warning("a Job with our labels is not ours", job_name=metadata["name"], namespace=metadata["namespace"], reason=trouble)
    return trouble is None


def _trouble(job: Document) -> str | None:
    try:
        made_as = name_of(attempt_of(job))
        storage_root_of(job)
        time_limit_of(job)
        resources_of(job)
    except KeyError as error:
        return f"it has no {error}"
    except ValueError as error:
        return f"its marks cannot be read: {error}"
    return None if job["metadata"]["name"] == made_as else f"it is marked as {made_as}"
