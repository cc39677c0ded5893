"""The chart, rendered by `helm` itself."""

import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from launcher.kubernetes.config import KubernetesConfig, load_config

CHART = Path(__file__).parents[2] / "helm" / "stratum"
CI = ("dev", "external", "everything")
"""Names of the values files in `ci/`."""
RELEASE, NAMESPACE = "stratum", "stratum-dry-run"

Manifest = dict[str, Any]


class Refused(Exception):
    """`helm` rendered nothing; the message is its own."""


@cache
def rendered(name: str, *sets: str, upgrade: bool = False, texts: tuple[str, ...] = ()) -> tuple[Manifest, ...]:
    """All manifests with the values of `ci/<name>.yaml` and more of them (`path=value`); without a name, with these alone.

    Args:
        texts: more of them, that are texts also where they look like numbers.
    """
    return tuple(each for each in yaml.safe_load_all(template(name, *sets, upgrade=upgrade, texts=texts)) if each)


def template(name: str, *sets: str, upgrade: bool = False, texts: tuple[str, ...] = ()) -> str:
    """The same as text."""
    command = ["helm", "template", RELEASE, str(CHART), "--namespace", NAMESPACE, "--kube-version", "1.34.0"]
    command += ["--values", str(CHART / "ci" / f"{name}.yaml")] if name else []
    command += ["--is-upgrade"] if upgrade else []
    for each in sets:
        command += ["--set", each]
    for each in texts:
        command += ["--set-string", each]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        raise Refused(done.stderr)
    return done.stdout


def of_kind(manifests: tuple[Manifest, ...], *kinds: str) -> list[Manifest]:
    """Those of some kinds."""
    return [each for each in manifests if each["kind"] in kinds]


def named(manifests: tuple[Manifest, ...], kind: str, name: str) -> Manifest:
    """The one of this kind and name."""
    (found,) = [each for each in of_kind(manifests, kind) if each["metadata"]["name"] == name]
    return found


def pods(manifests: tuple[Manifest, ...]) -> dict[str, Manifest]:
    """Pod specs by `Kind/name` of what makes them."""
    found = {}
    for each in of_kind(manifests, "Pod", "Deployment", "StatefulSet", "Job"):
        spec = each["spec"] if each["kind"] == "Pod" else each["spec"]["template"]["spec"]
        found[f"{each['kind']}/{each['metadata']['name']}"] = spec
    return found


def containers(spec: Manifest) -> list[Manifest]:
    """All containers of a pod spec, those that come first included."""
    return [*spec.get("initContainers", []), *spec["containers"]]


def environment(container: Manifest) -> dict[str, Manifest]:
    """Variables of a container by name."""
    return {each["name"]: each for each in container.get("env", [])}


def launcher_config(manifests: tuple[Manifest, ...], folder: Path) -> KubernetesConfig:
    """The launcher's configuration, read by the launcher."""
    (config,) = [each for each in of_kind(manifests, "ConfigMap") if each["metadata"]["name"].endswith("-kubernetes")]
    file = folder / "config.yaml"
    file.write_text(config["data"]["config.yaml"])
    return load_config(file)


def config_maps(spec: Manifest) -> set[str]:
    return {volume["configMap"]["name"] for volume in spec.get("volumes", ()) if "configMap" in volume}
