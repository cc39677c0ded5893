"""What the chart renders, for each file of values."""

import json
from pathlib import Path

import pytest
import yaml
from pydantic_settings import BaseSettings

from contracts.access import access_of
from control_plane.oidc_settings import OidcSettings
from control_plane.settings import (
    ApiSettings,
    DatabaseSettings,
    ReconcileSettings,
    RelaySettings,
    StorageSettings,
    TopicSettings,
    WebhookSettings,
)
from launcher.settings import KubernetesObserveSettings, KubernetesSubmitSettings
from stratum.preflight.target import Variables
from tests.helm.chart import CI, NAMESPACE, config_maps, containers, environment, launcher_config, of_kind, pods, rendered, template

pytestmark = pytest.mark.cluster

CLUSTER_SCOPED = ("Namespace",)


@pytest.mark.parametrize("values", CI)
def test_everything_runs_under_pod_security_restricted(values: str) -> None:
    for name, spec in pods(rendered(values)).items():
        security = spec["securityContext"]
        assert security["runAsNonRoot"] is True, name
        assert security["runAsUser"] == security["fsGroup"] > 0, name
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys(), name
        for container in containers(spec):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, name
            assert container["resources"]["requests"].keys() >= {"cpu", "memory"}, name


@pytest.mark.parametrize("values", CI)
def test_objects_say_what_they_belong_to_and_where_they_live(values: str) -> None:
    seen = set()
    for each in rendered(values):
        metadata = each["metadata"]
        assert metadata["labels"]["app.kubernetes.io/instance"] == "stratum"
        assert metadata["labels"]["app.kubernetes.io/managed-by"] == "Helm"
        assert ("namespace" in metadata) == (each["kind"] not in CLUSTER_SCOPED), metadata["name"]
        key = (each["kind"], metadata.get("namespace"), metadata["name"])
        assert key not in seen
        seen.add(key)


@pytest.mark.parametrize("values", CI)
def test_selectors_fit_the_pods_and_hold_nothing_that_a_release_changes(values: str) -> None:
    for each in of_kind(rendered(values), "Deployment", "StatefulSet"):
        selector = each["spec"]["selector"]["matchLabels"]
        assert selector.items() <= each["spec"]["template"]["metadata"]["labels"].items()
        assert selector.keys() == {"app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/component"}


@pytest.mark.parametrize("values", CI)
def test_secrets_come_by_reference(values: str) -> None:
    for name, spec in pods(rendered(values)).items():
        for container in containers(spec):
            for variable in environment(container).values():
                if variable["name"].endswith(("_PASSWORD", "_SECRET_KEY", "_DATABASE_URL")):
                    assert "secretKeyRef" in variable["valueFrom"], name


SETTINGS: dict[str, tuple[type[BaseSettings], ...]] = {
    "api": (ApiSettings,),
    "relay": (RelaySettings,),
    "reconcile": (ReconcileSettings,),
    "webhooks": (WebhookSettings,),
    "submit": (KubernetesSubmitSettings,),
    "observe": (KubernetesObserveSettings,),
    "migrate": (DatabaseSettings,),
    "topics": (TopicSettings,),
    "provision": (DatabaseSettings, StorageSettings),
}


@pytest.mark.parametrize("values", CI)
def test_each_role_gets_the_settings_it_knows_and_all_it_must_have(values: str) -> None:
    found: set[str] = set()
    for name, spec in pods(rendered(values)).items():
        for container in containers(spec) if name.startswith(("Deployment/", "Job/")) else []:
            if container["name"] == "wait":
                continue
            role = container["name"].split("-")[0]
            found.add(role)
            kinds = SETTINGS[role]
            fields = {name: each for kind in kinds for name, each in kind.model_fields.items()}
            given = {name.removeprefix("STRATUM_").lower() for name in environment(container) if name.startswith("STRATUM_")}
            assert given <= fields.keys() | {"ca_bundle"}, container["name"]
            assert {name for name, each in fields.items() if each.is_required()} <= given, container["name"]
    assert found == SETTINGS.keys() - ({"provision"} if values == "external" else set())


def test_the_api_alone_is_told_of_the_identity_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, spec in pods(rendered("everything")).items():
        for container in containers(spec):
            given = {name: each["value"] for name, each in environment(container).items() if name.startswith("STRATUM_OIDC_")}
            assert bool(given) == (name.startswith("Deployment/") and name.endswith("-api")), name
            for variable, value in given.items():
                monkeypatch.setenv(variable, value)
    settings = OidcSettings()
    assert settings == OidcSettings(
        oidc_issuer="https://login.example.com/",
        oidc_audience="stratum",
        oidc_jwks_url="https://login.example.com/keys",
        oidc_algorithms=("RS256", "EdDSA"),
        oidc_tenant_claim="organization.name",
        oidc_roles_claim="realm_access.roles",
        oidc_roles={"data-readers": "viewer", "data-engineers": "operator"},
        oidc_leeway_seconds=10,
    )
    assert not [name for spec in pods(rendered("external")).values() for c in containers(spec) for name in environment(c) if "OIDC" in name]


@pytest.mark.parametrize("values", CI)
def test_the_deployment_checks_know_all_they_are_told(values: str) -> None:
    (spec,) = [spec for name, spec in pods(rendered(values)).items() if name.endswith("-test-preflight")]
    given = {name.removeprefix("STRATUM_").lower() for name in environment(spec["containers"][0])}
    assert {name for name in given if not name.startswith("kafka_s")} <= Variables.model_fields.keys()


@pytest.mark.parametrize("values", CI)
def test_the_launcher_holds_no_keys_of_the_store_nor_the_database(values: str) -> None:
    manifests = rendered(values)
    for role in ("submit", "observe"):
        (spec,) = [spec for name, spec in pods(manifests).items() if name.endswith(f"-{role}")]
        for container in containers(spec):
            assert not {"STRATUM_S3_ACCESS_KEY", "STRATUM_S3_SECRET_KEY", "STRATUM_DATABASE_URL"} & environment(container).keys()
        assert not [volume for volume in spec["volumes"] if "secret" in volume]


@pytest.mark.parametrize("values", CI)
def test_access_is_the_table_in_tenant_namespaces_and_nothing_else(values: str) -> None:
    manifests = rendered(values)
    assert not of_kind(manifests, "ClusterRole", "ClusterRoleBinding")
    (config,) = [each for each in of_kind(manifests, "ConfigMap") if each["metadata"]["name"].endswith("-kubernetes")]
    places = {tenant["namespace"] for tenant in yaml.safe_load(config["data"]["config.yaml"])["tenants"].values()}
    expected = set()
    for role in ("submit", "observe", "driver", "preflight"):
        for where, namespaces in (("tenant", places), ("own", {NAMESPACE})):
            for row in access_of(role, where):  # type: ignore[arg-type]
                expected |= {(role, namespace, row.api_group, row.resource, row.verbs) for namespace in namespaces}
    granted = set()
    for each in of_kind(manifests, "Role"):
        role = each["metadata"]["name"].rsplit("-", 1)[1]
        for rule in each["rules"]:
            assert rule.keys() == {"apiGroups", "resources", "verbs"}
            granted.add((role, each["metadata"]["namespace"], rule["apiGroups"][0], rule["resources"][0], tuple(rule["verbs"])))
    assert granted == expected


@pytest.mark.parametrize("values", CI)
def test_only_those_who_ask_kubernetes_have_a_token(values: str) -> None:
    with_token = {name.rsplit("-", 1)[1] for name, spec in pods(rendered(values)).items() if spec["automountServiceAccountToken"]}
    assert with_token == {"submit", "observe", "preflight"}


@pytest.mark.parametrize("values", CI)
def test_the_launcher_understands_its_configuration(values: str, tmp_path: Path) -> None:
    read = launcher_config(rendered(values), tmp_path)
    if values == "everything":
        assert read.place("acme").queue == "acme"
        assert read.place("globex").namespace == "globex-runs"
        assert read.place("globex").s3_secret.access_key == "id"
        assert read.executors.allocation == "dynamic"
        assert read.ephemeral_storage.work_size_limit == "15Gi"
        assert read.sidecar_image == "registry.example.com/stratum/stratum-launcher:7"
        assert read.ca_config_map is not None


@pytest.mark.parametrize("values", CI)
def test_what_services_mount_is_of_the_release(values: str) -> None:
    """No hook: hooks are neither rolled back nor uninstalled."""
    manifests = rendered(values)
    own = {each["metadata"]["name"]: each for each in of_kind(manifests, "ConfigMap") if each["metadata"]["namespace"] == NAMESPACE}
    for name, spec in pods(manifests).items():
        for mounted in config_maps(spec) if name.startswith(("Deployment/", "Pod/")) else ():
            assert "annotations" not in own[mounted]["metadata"], (name, mounted)
    assert ("platform-ca" in own) == (values == "everything")


def test_the_text_printed_at_the_end_needs_nothing_unset() -> None:
    assert "<no value>" not in json.dumps([template(values) for values in CI])
