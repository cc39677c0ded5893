"""Kueue's LocalQueues that runs are given to: without one, a Job is suspended for ever, and no pod shows it."""

from collections.abc import Iterable
from typing import Any

from stratum.preflight.cluster import WITHIN, Cluster, Refused, told
from stratum.preflight.finding import Finding, failed, passed, warned, worst
from stratum.preflight.places import Place

_GROUP = "kueue.x-k8s.io"


def look(cluster: Cluster, places: Iterable[Place]) -> Finding:
    """The queue of each place is there, and admits.

    Raises:
        Unreachable: the API server does not answer.
    """
    named = sorted({(place.namespace, place.queue) for place in places if place.queue is not None})
    if not named:
        return passed("none is named: runs start without Kueue")
    try:
        version = _version(cluster)
    except Refused as error:
        return worst([_not_looked_at(namespace, name, error) for namespace, name in named])
    if version is None:
        return failed(
            f"the cluster has no Kueue, and runs wait for {', '.join(f'{name} in {namespace}' for namespace, name in named)}",
            "Install Kueue, or take `queue` out of the configuration (chart: runs.queue, tenants[].queue).",
        )
    return worst([_look(cluster, version, namespace, name) for namespace, name in named])


def _version(cluster: Cluster) -> str | None:
    """Which version of Kueue's API is served: every account may ask. None: no version."""
    with told():
        groups = cluster.apis.get_api_versions(_request_timeout=WITHIN).groups
    return next((str(group.preferred_version.version) for group in groups if group.name == _GROUP), None)


def _look(cluster: Cluster, version: str, namespace: str, name: str) -> Finding:
    try:
        with told():
            queue = cluster.custom.get_namespaced_custom_object(_GROUP, version, namespace, "localqueues", name, _request_timeout=WITHIN)
    except Refused as error:
        if error.status == 404:
            return failed(
                f"there is no LocalQueue {name} in {namespace}: runs would wait for ever",
                "Create it there, or correct `queue` in the configuration (chart: runs.queue, tenants[].queue).",
            )
        return _not_looked_at(namespace, name, error)
    return judge(queue, namespace, name)


def judge(queue: dict[str, Any], namespace: str, name: str) -> Finding:
    """Judge a LocalQueue by what Kueue says of it."""
    for condition in queue.get("status", {}).get("conditions", ()):
        if condition["type"] == "Active" and condition["status"] == "False":
            return failed(
                f"LocalQueue {name} in {namespace} is not active: {condition.get('message') or condition.get('reason', '')}",
                f"kubectl describe localqueues.{_GROUP} {name} -n {namespace}; create or resume the ClusterQueue that it names.",
            )
    return passed(f"{name} in {namespace}")


def _not_looked_at(namespace: str, name: str, error: Refused) -> Finding:
    # the chart's own account may not: a right on an API that few clusters have is not worth asking every installer for
    return warned(
        f"not looked at: LocalQueue {name} in {namespace} ({error.status})",
        f"Look by hand, as somebody who may: kubectl get localqueues.{_GROUP} {name} -n {namespace}. Without it no run there starts.",
    )
