"""One look at all namespaces. What is wrong with one of them is its own trouble."""

import structlog

from launcher.backend import Survey
from launcher.job import Job
from launcher.kubernetes.api import ApiRefused, KubernetesApi
from launcher.kubernetes.config import KubernetesConfig
from launcher.kubernetes.listing import list_jobs

log = structlog.get_logger()


def survey(api: KubernetesApi, config: KubernetesConfig, selector: str) -> Survey:
    """Every Job of the namespaces that can be listed, and the tenants of those that cannot.

    Raises:
        ApiRefused: the API server lets the launcher look into none.
        BackendUnavailable: it does not answer.
    """
    jobs: list[Job] = []
    refused: dict[str, ApiRefused] = {}
    for namespace in config.namespaces:
        try:
            jobs += list_jobs(api, namespace, selector)
        except ApiRefused as refusal:
            log.warning("a namespace cannot be listed; nothing of its tenants is lost meanwhile", namespace=namespace, reason=str(refusal))
            refused[namespace] = refusal
    if len(refused) == len(config.namespaces):
        raise next(iter(refused.values()))
    return Survey(jobs, tuple(sorted(tenant for namespace in refused for tenant in config.tenants_of(namespace))))
