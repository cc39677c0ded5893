"""`python -m deploy.templates generate | check`: what the launcher really makes on a cluster, as files to read and to start from.

All of them are rendered by the launcher's own functions from one example of the contract; `check` names those that are stale.
"""

import json
import sys
from pathlib import Path
from typing import Any

import yaml

from contracts.bucket_policy import bucket_policy, control_plane_policy, runs_policy
from contracts.command import Command
from contracts.layout import StorageRoot
from contracts.sizing import Resources
from deploy.templates.access_table import with_access_table
from deploy.templates.spark_application import apache_application, kubeflow_application
from launcher.job import JobSpec
from launcher.kubernetes.config import KubernetesConfig
from launcher.kubernetes.executor_pod import executor_template
from launcher.kubernetes.job_manifest import job_manifest, secret_manifest
from launcher.kubernetes.platform import Platform
from launcher.kubernetes.spark_arguments import driver_arguments

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "contracts/examples/command/good-given-resources.json"
REFERENCE = "docs/reference/kubernetes.md"
CONFIG = KubernetesConfig.model_validate(
    {"tenants": {"acme": {"namespace": "stratum-acme"}}, "sidecar_image": "registry.example/stratum/launcher:0.1.0"}
)
ACCOUNT = "arn:aws:iam::111122223333"
PLATFORM = Platform(cluster="production", s3_endpoint="https://s3.example", s3_region="eu-central-1", kill_grace_seconds=20)


def made_files() -> dict[str, str]:
    """Text of every file, by its path from the repository's root."""
    reference = with_access_table((ROOT / REFERENCE).read_text(encoding="utf-8"))
    return {**{f"deploy/templates/{name}": text for name, text in templates().items()}, REFERENCE: reference}


def templates() -> dict[str, str]:
    """Text of every template, by its name in this folder."""
    command = Command.model_validate_json(EXAMPLE.read_text(encoding="utf-8")).model_copy(update={"storage_root": "s3://lake/acme"})
    assert command.resource_profile is not None, "the example gives its resources"  # noqa: S101
    spec = JobSpec.of(command, Resources.model_validate(command.resource_profile.model_dump()))
    place = CONFIG.place(command.tenant)
    secret_name = f"{spec.name}-0a1b2c3d"
    job = job_manifest(spec, place, CONFIG, PLATFORM, secret_name)
    root = StorageRoot.parse(command.storage_root)
    return {
        "launcher.yaml": _yaml(CONFIG.model_dump(mode="json")),
        "job.yaml": _yaml(job),
        "secret.yaml": _yaml(secret_manifest(spec, place, CONFIG, PLATFORM, secret_name, "00000000-0000-0000-0000-000000000000")),
        "executor-pod.yaml": _yaml(executor_template(spec, place, CONFIG, PLATFORM)),
        "spark-arguments.txt": _lines(driver_arguments(spec, place, CONFIG, PLATFORM)),
        "spark-application-kubeflow.yaml": _yaml(kubeflow_application(spec, CONFIG, PLATFORM, job)),
        "spark-application-apache.yaml": _yaml(apache_application(spec, CONFIG, PLATFORM, job)),
        "policy-runs.json": _json(runs_policy(root)),
        "policy-control-plane.json": _json(control_plane_policy(root)),
        "policy-bucket.json": _json(bucket_policy(root, f"{ACCOUNT}:role/stratum-acme", f"{ACCOUNT}:role/stratum")),
    }


def stale() -> dict[str, str]:
    """Files that are missing, or are not what is made today, with what they should hold."""
    return {
        name: text for name, text in made_files().items() if not (path := ROOT / name).is_file() or path.read_text(encoding="utf-8") != text
    }


class _Plain(yaml.SafeDumper):
    """Writes shared parts out, each time."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _yaml(document: Any) -> str:
    return yaml.dump(document, Dumper=_Plain, sort_keys=False, width=140, allow_unicode=True)


def _json(document: Any) -> str:
    return json.dumps(document, indent=2) + "\n"


def _lines(arguments: list[str]) -> str:
    """One option with its value a line, and one for the program behind `--`."""
    first, *options = arguments[: arguments.index("--")]
    pairs = [f"{name} {value}" for name, value in zip(options[::2], options[1::2], strict=True)]
    return "\n".join([first, *pairs, " ".join(arguments[arguments.index("--") :])]) + "\n"


def main() -> int:
    """Return the exit code: 1 when `check` finds stale files."""
    if sys.argv[1:] not in (["generate"], ["check"]):
        print(__doc__, file=sys.stderr)
        return 2
    files = stale()
    if sys.argv[1] == "check":
        for name in files:
            print(f"stale: {name}; mend with: python -m deploy.templates generate", file=sys.stderr)
        return 1 if files else 0
    for name, text in files.items():
        (ROOT / name).write_text(text, encoding="utf-8")
        print(f"wrote {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
