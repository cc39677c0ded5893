"""Complete looks at a namespace, each as it is at that moment."""

from collections.abc import Sequence

from launcher.job import Job
from launcher.kubernetes import names, paths
from launcher.kubernetes.api import KubernetesApi
from launcher.kubernetes.containers import Document
from launcher.kubernetes.ending import has_started, is_ending, is_final
from launcher.kubernetes.marks import is_ours
from launcher.kubernetes.mirror import newest
from launcher.kubernetes.state import job_seen, state_of


def list_jobs(api: KubernetesApi, namespace: str, selector: str) -> Sequence[Job]:
    """Every Job of a namespace with its state. Pods are looked at after the Jobs: those of ended Jobs then stand still."""
    jobs = [job for job in api.list(paths.jobs(namespace), label=selector).items if is_ours(job)]
    if not jobs:
        return []
    pods: dict[str, list[Document]] = {}
    for pod in api.list(paths.pods(namespace), label=driver_selector(selector)).items:
        pods.setdefault(pod["metadata"]["labels"].get(names.JOB_OF_POD, ""), []).append(pod)
    paired = [(job, newest(pods.get(job["metadata"]["name"], ()))) for job in jobs]
    events = warnings(api, namespace) if any(may_need_warnings(job, pod) for job, pod in paired) else []
    return [job_seen(job, state_of(job, pod, events)) for job, pod in paired]


def may_need_warnings(job: Document, pod: Document | None) -> bool:
    """Whether the reason why the Job waits may stand in nothing but events."""
    return not is_final(job) and not is_ending(job) and not job["spec"].get("suspend") and not has_started(pod)


def warnings(api: KubernetesApi, namespace: str) -> Sequence[Document]:
    """What the cluster complained of in a namespace; it forgets after an hour."""
    return api.list(paths.events(namespace), field="type=Warning").items


def pod_of(api: KubernetesApi, job: Document) -> Document | None:
    """The pod of one Job as it is now."""
    metadata = job["metadata"]
    selector = f"{names.JOB_OF_POD}={metadata['name']},batch.kubernetes.io/controller-uid={metadata['uid']}"
    return newest(api.list(paths.pods(metadata["namespace"]), label=selector).items)


def driver_selector(selector: str) -> str:
    """Chooses driver pods, not executors, among all that carry the labels."""
    return f"{selector},{names.COMPONENT}={names.DRIVER}"
