"""Manifests of fixed commands under several configurations, as they were approved. To approve what they are now:

python -m tests.launcher.kubernetes.golden
"""

import json
from pathlib import Path
from typing import Any

import yaml

from launcher.job import JobSpec
from launcher.kubernetes.config import KubernetesConfig
from launcher.kubernetes.job_manifest import job_manifest, secret_manifest
from launcher.kubernetes.platform import Platform
from tests.launcher.samples import RESOURCES, a_command

FOLDER = Path(__file__).with_name("golden")
PLATFORM = Platform("eu-1", "https://s3.internal:9000", "eu-central-1", kill_grace_seconds=20)
JOB_UID = "6f1c0e5a-7d0e-4d58-9a3c-2b1f3d5e7a90"
_LARGE = [
    {
        "view": "source",
        "data_version": "v2024.10.05",
        "dataset": "source",
        "manifest_sha256": "sha256:" + "2" * 64,
        "bytes": 5 * 2**30,
        "rows": 10_000_000,
    }
]

CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "defaults": ({}, {}),
    "long_run": ({}, {"inputs": _LARGE}),
    "private": (
        {
            "ca_config_map": {"name": "company-ca", "key": "ca-bundle.pem"},
            "image_pull_policy": "Always",
            "image_pull_secrets": ["registry"],
            "node_selector": {"pool": "spark"},
            "tolerations": [{"key": "spark", "operator": "Exists", "effect": "NoSchedule"}],
            "pod_labels": {"cost-centre": "42", "stratum.dev/tenant": "not-this"},
            "pod_annotations": {"sidecar.istio.io/inject": "false"},
            "tenants": {
                "acme": {"namespace": "acme-runs", "service_account": "acme", "s3_secret": {"name": "acme-s3", "access_key": "id"}}
            },
        },
        {},
    ),
    "dynamic_and_small": (
        {
            "executors": {"allocation": "dynamic"},
            "cpu_request_ratio": 0.1,
            "memory_overhead": {"factor": 0.1, "min": "256m"},
            "ephemeral_storage": {
                "request": "1Gi",
                "limit": "20Gi",
                "work_size_limit": "16Gi",
                "tmp_size_limit": "1Gi",
                "log_size_limit": "500Mi",
            },
        },
        {},
    ),
    "queue_and_priority": ({"queue": "spark", "tenants": {"acme": {"namespace": "stratum-acme", "priority_class": "nightly"}}}, {}),
}
"""Name -> what differs in the configuration, and in the command."""


def spec_of(changes: dict[str, Any]) -> JobSpec:
    """The same command each time, but for the changes."""
    command = a_command(
        {"currency": "EUR"},
        message_id="0192e4a0-0000-7000-8000-000000000001",
        process_id="0192e4a0-0000-7000-8000-000000000002",
        start_before="2026-01-01T00:00:00Z",
        **changes,
    )
    return JobSpec.of(command, RESOURCES)


def config_of(changes: dict[str, Any]) -> KubernetesConfig:
    """The least that a configuration holds, and the changes."""
    least = {"tenants": {"acme": {"namespace": "stratum-acme"}}, "sidecar_image": "registry.internal/stratum-launcher:0.1.0"}
    return KubernetesConfig.model_validate(least | changes)


def manifests(case: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Job and Secret of a case."""
    config_changes, command_changes = CASES[case]
    config, spec = config_of(config_changes), spec_of(command_changes)
    place = config.place(spec.command.tenant)
    secret_name = f"{spec.name}-0a1b2c3d"
    return (
        job_manifest(spec, place, config, PLATFORM, secret_name),
        secret_manifest(spec, place, config, PLATFORM, secret_name, JOB_UID),
    )


def written(case: str) -> str:
    """Job and Secret of a case as YAML; the documents inside the Secret are shown as such."""
    job, secret = manifests(case)
    shown = secret | {"stringData": {name: json.loads(value) for name, value in secret["stringData"].items()}}
    return yaml.dump_all(json.loads(json.dumps([job, shown])), sort_keys=False, width=140)


def main() -> None:
    """Approve all."""
    FOLDER.mkdir(exist_ok=True)
    for case in CASES:
        (FOLDER / f"{case}.yaml").write_text(written(case), encoding="utf-8")


if __name__ == "__main__":
    main()
