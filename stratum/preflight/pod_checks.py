"""What a pod of a tenant sees: its image, its Secret, the way to the API, its node's clock, and what its storage keys may do."""

import secrets
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from contracts.layout import DatasetPath
from stratum.preflight import clock, store
from stratum.preflight.cluster import Cluster
from stratum.preflight.finding import Finding, failed, passed, skipped, warned
from stratum.preflight.places import Place, PlacesFile
from stratum.preflight.probe_pod import ROOM_SECONDS, SECONDS, Probe, Probed
from stratum.preflight.runner import Check
from stratum.preflight.target import Target, is_loopback

GROUP = "kubernetes"


class PodOfTenant:
    """One pod, in the place of one tenant, with one image."""

    _probed: Probed

    def __init__(self, target: Target, cluster: Cluster, file: PlacesFile, place: Place, image: str) -> None:
        self._target = target
        self._cluster = cluster
        self._file = file
        self._place = place
        self._image = image

    def checks(self) -> list[Check]:
        """The pod, and what it saw."""
        name = f"pod of {self._place.tenant}"
        if len({action.image for action in self._target.catalog.actions.values()}) > 1:
            name = f"{name}, {self._image}"
        needs = ("API server", name)
        return [
            # one after another: all at once would be more pods than a quota has room for, where a run waits its turn
            Check(GROUP, name, self.ran, ("API server",), seconds=ROOM_SECONDS + SECONDS + 30, lane=f"pods in {self._place.namespace}"),
            Check(GROUP, f"{name}: callback", lambda: judge_callback(self._report, self._target.callback_base_url), needs=needs),
            Check(GROUP, f"{name}: clock", lambda: judge_clock(self._report, self._probed.node), needs=needs),
            Check(GROUP, f"{name}: storage keys", lambda: judge_keys(self._report.get("store")), needs=needs),
        ]

    @property
    def _report(self) -> dict[str, Any]:
        return self._probed.report or {}

    def ran(self) -> Finding:
        """The image is pulled, the account and the Secret are there, the pod is admitted and runs."""
        if not self._target.pods:
            return skipped("not started: --no-pods", "Run it once with pods: only they show that images are pulled and the API is reached.")
        return self._probe()

    def _probe(self) -> Finding:
        place, image = self._place, self._image
        scratch = self._scratch()
        try:
            found = Probe(place, self._file, image, self._environment(scratch)).run(self._cluster)
        finally:
            if scratch is not None:
                scratch.remove(self._target)
        self._probed = found
        if found.waits:
            return skipped(f"{place.namespace} has no room for it: {found.problem}", found.remedy)
        if found.report is None:
            return failed(f"{image} in {place.namespace}: {found.problem}", found.remedy)
        return passed(f"{image} ran as {place.service_account} in {place.namespace}, with the keys of Secret {place.s3_secret.name}")

    def _environment(self, scratch: "Scratch | None") -> dict[str, str]:
        api = {"PROBE_API": self._target.callback_base_url.rstrip("/")} if self._target.callback_base_url else {}
        return api | (scratch.environment if scratch else {})

    def _scratch(self) -> "Scratch | None":
        """Where the pod may try its storage keys: in the tenant's own root, if that is known and pods reach the store."""
        endpoint = self._target.s3_endpoint
        if endpoint is None or is_loopback(urlsplit(endpoint).hostname):
            return None
        roots = store.roots(self._target.model_copy(update={"tenant": self._place.tenant}))
        return (
            Scratch(endpoint, self._target.s3_region, roots[0].dataset("_preflight", secrets.token_hex(4), "pod"))
            if len(roots) == 1
            else None
        )


@dataclass(frozen=True)
class Scratch:
    """The folder of a dataset that never is: keys lie as those of runs do, so that the same policy holds for them."""

    endpoint: str
    region: str
    path: DatasetPath

    @property
    def file(self) -> str:
        """The key of a file that runs may write, and remove."""
        return f"{self.path.run_prefix('run')}__magic_preflight/part-0"

    @property
    def environment(self) -> dict[str, str]:
        """What the pod is told."""
        return {
            "STRATUM_S3_ENDPOINT": self.endpoint,
            "STRATUM_S3_REGION": self.region,
            "PROBE_BUCKET": self.path.root.bucket,
            "PROBE_FILE": self.file,
            "PROBE_MANIFEST": self.path.manifest_key,
        }

    def remove(self, target: Target) -> None:
        """Remove what the pod wrote, with the services' credentials; without them it stays, and is no data."""
        if target.s3_access_key is None or target.s3_secret_key is None:
            return
        client = store.client(target, self.endpoint)
        for key in (self.file, self.path.manifest_key):
            with store.told(f"DELETE {key}"):
                client.delete_object(Bucket=self.path.root.bucket, Key=key)


def judge_callback(report: dict[str, Any], address: str | None) -> Finding:
    """Judge whether the pod reached the API."""
    if address is None:
        return skipped("STRATUM_CALLBACK_BASE_URL is not set", "Set it to the API's address as runs reach it.")
    found = report.get("api", {})
    if "error" in found:
        return failed(
            f"{address} from the pod: {found['error']}",
            "Let STRATUM_CALLBACK_BASE_URL be an address that pods of the tenant reach; look at NetworkPolicies, and at ca_config_map.",
        )
    return passed(f"{address} answers the pod")


def judge_clock(report: dict[str, Any], node: str) -> Finding:
    """Judge the clock of the pod's node beside the database's."""
    found = report.get("api", {})
    if "ahead" not in found:
        return skipped("the pod did not learn the database's time")
    return clock.judge(found["ahead"], f"node {node}", "the database", found["uncertain"])


def judge_keys(found: dict[str, str] | None) -> Finding:
    """Judge what the keys of runs may write."""
    if found is None:
        return skipped(
            "the tenant's storage root, or an S3 address that pods reach, is not known",
            "Set STRATUM_DATABASE_URL and STRATUM_S3_ENDPOINT, or --storage-root.",
        )
    if "error" in found:
        return failed(f"the pod cannot try the store: {found['error']}", "Build images of actions on Stratum's own.")
    if found["file"] != "written":
        return failed(
            f"the keys of runs cannot write files: {found['file']}",
            "Give the keys in the tenant's Secret the policy deploy/templates/policy-runs.json.",
        )
    if found["manifest"] == "written":
        return warned(
            "the keys of runs may write manifests: a run could seal what nobody checked",
            "Give runs keys of their own with the policy deploy/templates/policy-runs.json.",
        )
    return passed("the keys of runs write files, and no manifests")
