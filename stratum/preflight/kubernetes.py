"""Kubernetes: rights, namespaces, quotas, and a pod as a run would be."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from contracts.access import Role
from stratum.preflight import access, pins, queues, quota
from stratum.preflight.access import Account
from stratum.preflight.cluster import WITHIN, Cluster, Refused, told
from stratum.preflight.errors import Unreachable
from stratum.preflight.finding import Finding, failed, passed, skipped, warned, worst
from stratum.preflight.places import Place, PlacesFile, places, read
from stratum.preflight.pod_checks import GROUP, PodOfTenant
from stratum.preflight.quota import Needs
from stratum.preflight.runner import Check
from stratum.preflight.target import Target

LEAST = (1, 30)
"""The oldest version that the chart is installed on."""
_SECURITY_LABEL = "pod-security.kubernetes.io/enforce"


def checks(target: Target) -> list[Check]:
    """The checks of this group."""
    if target.namespace is None:
        remedy = "Give --namespace, or set STRATUM_NAMESPACE, to the namespace of Stratum; KUBECONFIG names the cluster."
        return [Check(GROUP, "cluster", lambda: skipped("no namespace is named", remedy))]
    kubernetes = Kubernetes(target, target.namespace)
    return [
        Check(GROUP, "API server", kubernetes.server),
        Check(GROUP, "own namespace", lambda: kubernetes.namespace_exists(kubernetes.own), needs=("API server",)),
        *_of_tenants(target, kubernetes),
    ]


def _of_tenants(target: Target, kubernetes: "Kubernetes") -> list[Check]:
    if target.kubernetes_config_file is None:
        remedy = "Set it to the launcher's file: it says where the tenants' runs live."
        return [Check(GROUP, "configuration", lambda: skipped("STRATUM_KUBERNETES_CONFIG_FILE is not set", remedy))]
    try:
        file = read(target.kubernetes_config_file)
    except Unreachable as error:
        problem = str(error)
        return [Check(GROUP, "configuration", lambda: failed(problem, "Correct the file; docs/reference/launcher.md has all keys."))]
    found = places(file, target.tenant)
    if not found:
        remedy = "Add it under `tenants`, with its namespace."
        return [Check(GROUP, "configuration", lambda: failed(f"the tenant {target.tenant!r} has no namespace", remedy))]
    tenants = Tenants(target, kubernetes, file, found)
    asked: dict[str, Callable[[], Finding]] = {
        "namespaces": tenants.namespaces,
        "service accounts": tenants.service_accounts,
        "access of submit": partial(tenants.access_of_service, "submit", target.submit_service_account),
        "access of observe": partial(tenants.access_of_service, "observe", target.observe_service_account),
        "access of drivers": tenants.access_of_drivers,
        "quota": tenants.quota,
        "queues": partial(queues.look, kubernetes.cluster, found),
    }
    images = sorted({action.image for action in target.catalog.actions.values()})
    return [
        Check(GROUP, "image digests", lambda: pins.judge(images)),
        Check(GROUP, "configuration", lambda: passed(", ".join(f"{place.tenant} in {place.namespace}" for place in found))),
        *(Check(GROUP, name, look, needs=("API server",)) for name, look in asked.items()),
        *(check for place in found for image in images for check in PodOfTenant(target, kubernetes.cluster, file, place, image).checks()),
    ]


class Kubernetes:
    """One cluster, and the namespace of Stratum in it."""

    def __init__(self, target: Target, own: str) -> None:
        self.cluster = Cluster()
        self.own = own

    def server(self) -> Finding:
        """The API server answers, and is new enough."""
        try:
            with told():
                version = self.cluster.version.get_code(_request_timeout=WITHIN)
        except (Unreachable, Refused) as error:
            return failed(str(error), "Correct KUBECONFIG, or run this in a pod with a service account.")
        found = int(version.major), int(version.minor.rstrip("+"))
        if found < LEAST:
            least = ".".join(map(str, LEAST))
            return failed(f"Kubernetes {version.git_version}", f"Upgrade to {least} or later: the chart refuses older ones.")
        return passed(f"Kubernetes {version.git_version}")

    def namespace_exists(self, name: str) -> Finding:
        """The namespace is there, and pods in it are held to `restricted`."""
        try:
            with told():
                labels = self.cluster.core.read_namespace(name, _request_timeout=WITHIN).metadata.labels or {}
        except Refused as error:
            if error.status == 404:
                return failed(
                    f"there is no namespace {name}",
                    f"kubectl create namespace {name} and label it {_SECURITY_LABEL}=restricted; or let the chart do both.",
                )
            return skipped(f"namespace {name} may not be read", "Ask as somebody who may get namespaces.")
        level = labels.get(_SECURITY_LABEL)
        if level != "restricted":
            return warned(
                f"{name}: Pod Security is {level or 'not set'}", f"kubectl label namespace {name} {_SECURITY_LABEL}=restricted --overwrite"
            )
        return passed(f"{name}, restricted")


class Tenants:
    """The tenants' part of a cluster."""

    def __init__(self, target: Target, kubernetes: Kubernetes, file: PlacesFile, found: Sequence[Place]) -> None:
        self._target = target
        self._kubernetes = kubernetes
        self._cluster = kubernetes.cluster
        self._file = file
        self._places = found
        self._namespaces = list(dict.fromkeys(place.namespace for place in found))

    def namespaces(self) -> Finding:
        """Each tenant's namespace is there and restricted."""
        return worst([self._kubernetes.namespace_exists(name) for name in self._namespaces])

    def service_accounts(self) -> Finding:
        """The accounts of drivers and executors are there."""
        wanted = {
            (place.namespace, name) for place in self._places for name in (place.service_account, self._file.executor_service_account)
        }
        return worst([self._service_account(namespace, name) for namespace, name in sorted(wanted)])

    def _service_account(self, namespace: str, name: str) -> Finding:
        try:
            with told():
                self._cluster.core.read_namespaced_service_account(name, namespace, _request_timeout=WITHIN)
        except Refused as error:
            if error.status == 404:
                return failed(
                    f"there is no service account {name} in {namespace}",
                    f"kubectl create serviceaccount {name} -n {namespace}; or let the chart make it.",
                )
            return skipped(f"service accounts in {namespace} may not be read", "Allow get on serviceaccounts there.")
        return passed(f"{name} in {namespace}")

    def access_of_service(self, role: Role, name: str | None) -> Finding:
        """What `submit` or `observe` may do, verb by verb."""
        if name is None:
            variable = f"STRATUM_{role.upper()}_SERVICE_ACCOUNT"
            return skipped(f"{variable} is not set", f"Set it to the name of the account in {self._kubernetes.own} that `{role}` runs as.")
        return self._judge_access([Account(role, self._kubernetes.own, name)])

    def access_of_drivers(self) -> Finding:
        """What drivers may do, each in its own namespace."""
        return self._judge_access([Account("driver", place.namespace, place.service_account) for place in self._places])

    def _judge_access(self, accounts: Sequence[Account]) -> Finding:
        asked = []
        for account in dict.fromkeys(accounts):
            where = [account.namespace] if account.role == "driver" else self._namespaces
            asked += access.questions(account, self._kubernetes.own, where)
        try:
            denied = access.denied(self._cluster, asked)
        except Refused as error:
            return skipped(
                f"nobody may be asked about: {error}", "Ask as somebody who may create localsubjectaccessreviews in these namespaces."
            )
        names = ", ".join(dict.fromkeys(f"{account.namespace}/{account.name}" for account in accounts))
        if denied:
            return failed(f"{names} may not: {access.words(denied)}", "Add the verbs to its Role; those that the chart makes have all.")
        return passed(f"{names}: all {len(asked)} verbs")

    def quota(self) -> Finding:
        """A run of the smallest profile fits into what is left, and one of every other into the whole."""
        catalog = self._target.catalog
        needs = {name: quota.need(catalog.profiles[name], self._file) for name in {action.profile for action in catalog.actions.values()}}
        return worst([self._quota(namespace, needs) for namespace in self._namespaces])

    def _quota(self, namespace: str, needs: Needs) -> Finding:
        try:
            with told():
                items = self._cluster.core.list_namespaced_resource_quota(namespace, _request_timeout=WITHIN).items
        except Refused:
            return skipped(f"quotas in {namespace} may not be read", "Allow list on resourcequotas there.")
        quotas = [{"name": each.metadata.name, "hard": each.status.hard or {}, "used": each.status.used or {}} for each in items]
        return quota.judge(quotas, needs, namespace, self._limits(namespace) if quota.asks_for_limits(quotas) else ())

    def _limits(self, namespace: str) -> list[dict[str, Any]] | None:
        """What the LimitRanges say; None: they may not be read, which the chart's own account may not."""
        try:
            with told():
                items = self._cluster.core.list_namespaced_limit_range(namespace, _request_timeout=WITHIN).items
        except Refused:
            return None
        return [{"type": limit.type, "default": limit.default or {}} for each in items for limit in each.spec.limits]
