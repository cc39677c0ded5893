"""A pod as a run's driver is: the same image, account, Secret, priority, security and labels. It looks around, reports and is removed."""

import json
import secrets
import time
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from stratum.preflight.cluster import WITHIN, Cluster, Refused, told
from stratum.preflight.places import Place, PlacesFile

SECONDS = 180.0
"""An image of a gigabyte takes its time to be pulled."""
ROOM_SECONDS = 30.0
"""A quota counts a pod that was removed for a moment longer, and other runs end."""
_POLL_SECONDS = 0.5
_CA_DIR = "/etc/stratum/ca"
_SIDECAR = "sidecar"
_HOPELESS = (
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
)
_REMEDIES = {
    "ImagePullBackOff": "Push the image, correct its name (STRATUM_JOBS_IMAGE, `image` in the catalog, or sidecar_image in the "
    "configuration), or name image_pull_secrets.",
    "ErrImageNeverPull": "Load the image onto every node, or set image_pull_policy: IfNotPresent.",
    "CreateContainerConfigError": "Create the Secret in the tenant's namespace, with the keys that s3_secret in the configuration names.",
    "Unschedulable": "Add nodes, or correct node_selector and tolerations in the configuration.",
    "Refused": "Create what it names: a PriorityClass in the cluster (or correct priority_class in the configuration), all else in the "
    "tenant's namespace; a refusal by a policy or quota says which rule to change.",
    "Full": "Runs would wait as well: look again when others have ended, or raise the ResourceQuota of the namespace.",
}


@dataclass(frozen=True)
class Probed:
    """What became of the pod. `report`: what it saw, when it ran; else `problem` and `remedy`. `waits`: there was no room for it yet."""

    report: dict[str, Any] | None = None
    problem: str = ""
    remedy: str = ""
    node: str = ""
    waits: bool = False


@dataclass(frozen=True)
class Probe:
    """One pod to be.

    Attributes:
        environment: what it is told, beside its storage keys.
    """

    place: Place
    file: PlacesFile
    image: str
    environment: dict[str, str] = field(default_factory=dict)

    def manifest(self, name: str, seconds: float) -> dict[str, Any]:
        """The pod, allowed under Pod Security `restricted`."""
        script = files("stratum.preflight").joinpath("probe_script.py").read_text(encoding="utf-8")
        secret = self.place.s3_secret
        keys = {"STRATUM_S3_ACCESS_KEY": secret.access_key, "STRATUM_S3_SECRET_KEY": secret.secret_key}
        container = self._container("preflight", self.image, script) | {
            "env": [
                *({"name": name, "value": value} for name, value in self.environment.items()),
                *({"name": name, "valueFrom": {"secretKeyRef": {"name": secret.name, "key": key}}} for name, key in keys.items()),
            ],
            "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108  # a volume of its own
        }
        spec: dict[str, Any] = {
            "restartPolicy": "Never",
            "activeDeadlineSeconds": int(seconds),
            "serviceAccountName": self.place.service_account,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 185,
                "runAsGroup": 185,
                "fsGroup": 185,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "imagePullSecrets": [{"name": each} for each in self.file.image_pull_secrets],
            "nodeSelector": self.file.node_selector,
            "tolerations": list(self.file.tolerations),
            "containers": [container],
            "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "16Mi"}}],
        }
        if self.place.priority_class is not None:
            spec["priorityClassName"] = self.place.priority_class
        if self.file.sidecar_image is not None:
            # no run starts without it; that it is pulled and starts is all there is to see
            spec["initContainers"] = [self._container(_SIDECAR, self.file.sidecar_image, "")]
        if (bundle := self.file.ca_config_map) is not None:
            spec["volumes"].append({"name": "ca", "configMap": {"name": bundle.name, "items": [{"key": bundle.key, "path": "ca.crt"}]}})
            container["volumeMounts"].append({"name": "ca", "mountPath": _CA_DIR, "readOnly": True})
            container["env"].append({"name": "STRATUM_CA_BUNDLE", "value": f"{_CA_DIR}/ca.crt"})
        # network policies take it for a run; the launcher, which chooses by stratum.dev/cluster, does not
        labels = {
            "app.kubernetes.io/name": "stratum-run",
            "app.kubernetes.io/component": "driver",
            "app.kubernetes.io/managed-by": "stratum-preflight",
        }
        return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec}

    def _container(self, name: str, image: str, script: str) -> dict[str, Any]:
        return {
            "name": name,
            "image": image,
            "imagePullPolicy": self.file.image_pull_policy,
            "command": ["python", "-c", script],
            # requests and limits of both kinds: a quota may demand any of them
            "resources": {"requests": {"cpu": "10m", "memory": "128Mi"}, "limits": {"memory": "128Mi"}},
            "securityContext": {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}},
            "terminationMessagePolicy": "FallbackToLogsOnError",
        }

    def run(self, cluster: Cluster, seconds: float = SECONDS) -> Probed:
        """Start it, wait for its end, remove it.

        Raises:
            Unreachable: the API server does not answer.
        """
        name = f"stratum-preflight-{secrets.token_hex(4)}"
        namespace = self.place.namespace
        try:
            self._create(cluster, self.manifest(name, seconds))
        except Refused as error:
            waits = _is_full(error)
            return Probed(problem=str(error), remedy=_REMEDIES["Full" if waits else "Refused"], waits=waits)
        try:
            return self._await(cluster, name, seconds)
        finally:
            with told():
                cluster.core.delete_namespaced_pod(name, namespace, grace_period_seconds=0, _request_timeout=WITHIN)

    def _create(self, cluster: Cluster, manifest: dict[str, Any]) -> None:
        """Create it, as soon as its namespace has room; raises `Refused`."""
        deadline = time.monotonic() + ROOM_SECONDS
        while True:
            try:
                with told():
                    cluster.core.create_namespaced_pod(self.place.namespace, manifest, _request_timeout=WITHIN)
            except Refused as error:
                if not _is_full(error) or time.monotonic() > deadline:
                    raise
            else:
                return
            time.sleep(_POLL_SECONDS)

    def _await(self, cluster: Cluster, name: str, seconds: float) -> Probed:
        deadline = time.monotonic() + seconds
        while True:
            with told():
                pod = cluster.core.read_namespaced_pod(name, self.place.namespace, _request_timeout=WITHIN)
            reason, message = why_waiting(pod.status)
            if pod.status.phase in ("Succeeded", "Failed"):
                return ended(pod)
            if reason in _HOPELESS or time.monotonic() > deadline:
                problem = f"{reason}: {message}".strip(": ") or f"the pod is {pod.status.phase} after {seconds:g} s"
                return Probed(problem=problem, remedy=_REMEDIES.get(reason, f"kubectl describe pods -n {self.place.namespace} says more."))
            time.sleep(_POLL_SECONDS)


def _is_full(refusal: Refused) -> bool:
    return refusal.status == 403 and "exceeded quota" in str(refusal)


def why_waiting(status: Any) -> tuple[str, str]:
    """Reason and words of what a pod waits for, as far as it says."""
    for container in (*(status.init_container_statuses or ()), *(status.container_statuses or ())):
        if container.state.waiting is not None:
            return container.state.waiting.reason or "", f"{_whose(container)}{container.state.waiting.message or ''}"
    for condition in status.conditions or ():
        if condition.type == "PodScheduled" and condition.status == "False":
            return condition.reason or "", condition.message or ""
    return "", ""


def _whose(container: Any) -> str:
    """The message speaks of the image of actions, unless it is told that it is not that one."""
    return f"the sidecar's image {container.image}: " if container.name == _SIDECAR else ""


def ended(pod: Any) -> Probed:
    """What a pod that has ended tells."""
    for sidecar in pod.status.init_container_statuses or ():
        if (its := sidecar.state.terminated) and its.exit_code != 0:
            return Probed(
                problem=f"{_whose(sidecar)}{its.reason}: {(its.message or '').strip()[-300:] or 'no words'}",
                remedy="Let sidecar_image in the configuration name the launcher's image, of this version.",
            )
    terminated = next((each.state.terminated for each in pod.status.container_statuses or () if each.state.terminated), None)
    message = (terminated.message if terminated else pod.status.message) or ""
    try:
        return Probed(report=json.loads(message), node=pod.spec.node_name or "")
    except ValueError:
        reason = terminated.reason if terminated else pod.status.reason
        return Probed(
            problem=f"the image was pulled, and the pod ended with {reason}: {message.strip()[-300:] or 'no words'}",
            remedy="Images of actions need Python on PATH and run as user 185: build them on Stratum's own.",
        )
