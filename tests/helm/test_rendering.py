"""What the chart renders, for each file of values."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic_settings import BaseSettings

from contracts.access import access_of
from contracts.states import ProcessState
from control_plane.oidc_settings import OidcSettings
from control_plane.settings import (
    ApiSettings,
    DatabaseSettings,
    ReconcileSettings,
    RelaySettings,
    StorageSettings,
    TopicSettings,
    WebhookSettings,
    WebhookTargetSettings,
)
from launcher.kubernetes.config import KubernetesConfig, load_config
from launcher.settings import KubernetesObserveSettings, KubernetesSubmitSettings
from stratum.preflight.target import Variables
from tests.helm.chart import CI, NAMESPACE, Manifest, containers, environment, named, of_kind, pods, rendered, template

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


def launcher_config(manifests: tuple[Manifest, ...], folder: Path) -> KubernetesConfig:
    """The launcher's configuration, read by the launcher."""
    (config,) = [each for each in of_kind(manifests, "ConfigMap") if each["metadata"]["name"].endswith("-kubernetes")]
    file = folder / "config.yaml"
    file.write_text(config["data"]["config.yaml"])
    return load_config(file)


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


def test_a_new_catalog_restarts_nothing_and_a_new_configuration_of_the_launcher_restarts_it() -> None:
    def templates(*sets: str) -> dict[str, Any]:
        return {each["metadata"]["name"]: each["spec"]["template"] for each in of_kind(rendered("external", *sets), "Deployment")}

    before = templates()
    assert templates("catalog.files.own\\.yaml=actions: []") == before
    changed = templates("runs.executorDeadlineSeconds=60")
    assert {name for name in before if before[name] != changed[name]} == {"stratum-submit", "stratum-observe"}
    for template_ in before.values():
        for container in template_["spec"]["containers"]:
            assert not [mount for mount in container["volumeMounts"] if "subPath" in mount]


def test_with_external_services_the_installation_is_prepared_first() -> None:
    jobs = of_kind(rendered("everything"), "Job")
    weights = {}
    for each in jobs:
        annotations = each["metadata"]["annotations"]
        assert annotations["helm.sh/hook"] == "pre-install,pre-upgrade"
        weights[each["metadata"]["name"]] = int(annotations["helm.sh/hook-weight"])
    assert sorted(weights, key=lambda name: weights[name]) == ["platform-migrate", "platform-topics", "platform-provision"]
    for name in {name for each in jobs for name in config_maps(each["spec"]["template"]["spec"])}:
        annotations = named(rendered("everything"), "ConfigMap", name)["metadata"]["annotations"]
        assert int(annotations["helm.sh/hook-weight"]) < min(weights.values()), "what a hook mounts comes before it"
        assert "hook-succeeded" in annotations["helm.sh/hook-delete-policy"]


@pytest.mark.parametrize("values", CI)
def test_what_services_mount_is_of_the_release(values: str) -> None:
    """No hook: hooks are neither rolled back nor uninstalled."""
    manifests = rendered(values)
    own = {each["metadata"]["name"]: each for each in of_kind(manifests, "ConfigMap") if each["metadata"]["namespace"] == NAMESPACE}
    for name, spec in pods(manifests).items():
        for mounted in config_maps(spec) if name.startswith(("Deployment/", "Pod/")) else ():
            assert "annotations" not in own[mounted]["metadata"], (name, mounted)
    assert ("platform-ca" in own) == (values == "everything")


def config_maps(spec: Manifest) -> set[str]:
    return {volume["configMap"]["name"] for volume in spec.get("volumes", ()) if "configMap" in volume}


def test_more_tenants_ask_for_no_larger_node() -> None:
    """The scheduler adds up what containers side by side ask for; of those that come first it takes the largest."""
    job = named(rendered("everything"), "Job", "platform-provision")["spec"]["template"]["spec"]
    assert [each["name"] for each in containers(job)] == ["provision-acme", "provision-globex"]
    assert len(job["containers"]) == 1


def test_hooks_and_tests_go_where_the_services_may_go() -> None:
    for name, spec in pods(rendered("everything")).items():
        assert spec["nodeSelector"] == {"pool": "platform"}, name
        assert spec["tolerations"] == [{"key": "platform", "operator": "Exists"}], name


def test_the_deployment_checks_know_how_many_connections_all_pods_open() -> None:
    def told(*sets: str) -> str:
        spec = pods(rendered("external", *sets))["Pod/stratum-test-preflight"]
        return str(environment(spec["containers"][0])["STRATUM_DATABASE_CONNECTIONS"]["value"])

    assert told() == "82", "two of api, relay, reconcile and webhooks with ten each, and the locks of two relays"
    assert told("api.autoscaling.enabled=true", "database.poolSize=5", "relay.replicas=1") == "76"


def test_with_bundled_services_the_preparation_waits_for_them() -> None:
    for each in of_kind(rendered("dev"), "Job"):
        assert "annotations" not in each["metadata"]
        wait = each["spec"]["template"]["spec"]["initContainers"][0]
        assert wait["args"][0] == "wait"


def test_what_the_bundled_services_hold_outlives_the_release() -> None:
    manifests = rendered("dev")
    for each in of_kind(manifests, "Secret"):
        if each["metadata"]["namespace"] == NAMESPACE:
            assert each["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert not of_kind(manifests, "PersistentVolumeClaim"), "claims of a StatefulSet stay; the release's own would go with it"
    assert all(each["spec"]["volumeClaimTemplates"] for each in of_kind(manifests, "StatefulSet"))


def test_a_rolling_upgrade_never_has_fewer_pods() -> None:
    for each in of_kind(rendered("everything"), "Deployment"):
        assert each["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
        (container,) = each["spec"]["template"]["spec"]["containers"]
        assert container.keys() >= {"startupProbe", "livenessProbe", "readinessProbe"}
    disrupted = {each["metadata"]["name"] for each in of_kind(rendered("everything"), "PodDisruptionBudget")}
    assert disrupted == {f"platform-{role}" for role in ("api", "relay", "reconcile", "webhooks", "submit", "observe")}
    assert not of_kind(rendered("dev"), "PodDisruptionBudget"), "a budget of one pod would stop every drain"


def test_who_scales_is_the_only_one_to_say_how_many() -> None:
    manifests = rendered("everything")
    assert {named(manifests, "HorizontalPodAutoscaler", "platform-api")["spec"]["scaleTargetRef"]["name"]} == {"platform-api"}
    assert "replicas" not in named(manifests, "Deployment", "platform-api")["spec"]
    assert "replicas" not in named(manifests, "Deployment", "platform-submit")["spec"]
    kafka, prometheus = named(manifests, "ScaledObject", "platform-submit")["spec"]["triggers"]
    assert kafka["metadata"]["consumerGroup"] == "north.launcher.submit"
    assert (kafka["metadata"]["sasl"], kafka["metadata"]["tls"]) == ("scram_sha512", "enable")
    (state,) = re.findall(r'state="(\w+)"', prometheus["metadata"]["query"])
    assert ProcessState(state) is ProcessState.ACCEPTED


def test_outside_sees_the_api_and_not_what_operators_look_at() -> None:
    manifests = rendered("everything")
    (rule,) = named(manifests, "Ingress", "platform-api")["spec"]["rules"]
    assert {path["path"] for path in rule["http"]["paths"]} == {"/v1", "/.well-known", "/docs", "/openapi.json"}
    (route,) = named(manifests, "HTTPRoute", "platform-api")["spec"]["rules"]
    assert {match["path"]["value"] for match in route["matches"]} == {"/v1", "/.well-known", "/docs", "/openapi.json"}


def test_metrics_are_found_by_services_that_exist() -> None:
    manifests = rendered("everything")
    for monitor in of_kind(manifests, "ServiceMonitor"):
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        services = [each for each in of_kind(manifests, "Service") if wanted <= each["metadata"]["labels"].items()]
        (service,) = services
        assert monitor["spec"]["endpoints"][0]["port"] in [port["name"] for port in service["spec"]["ports"]]
        selected = [
            each["metadata"]["name"]
            for each in of_kind(manifests, "Deployment")
            if service["spec"]["selector"].items() <= each["spec"]["template"]["metadata"]["labels"].items()
        ]
        api = "-api" in service["metadata"]["name"]
        assert selected
        assert all(("-api" in name) == api for name in selected)


def test_images_by_digest_tag_or_version() -> None:
    def api_environment(manifests: tuple[Manifest, ...], name: str) -> dict[str, Manifest]:
        return environment(named(manifests, "Deployment", name)["spec"]["template"]["spec"]["containers"][0])

    digest = "sha256:" + "0" * 64
    jobs_image = api_environment(rendered("everything"), "platform-api")["STRATUM_JOBS_IMAGE"]["value"]
    assert jobs_image == f"registry.example.com/stratum/stratum-spark:7@{digest}"
    jobs_image = api_environment(rendered("external"), "stratum-api")["STRATUM_JOBS_IMAGE"]["value"]
    assert jobs_image == "registry.example.com/stratum/stratum-spark:0.1.0"


def test_signing_keys_in_the_order_given() -> None:
    relay = named(rendered("everything"), "Deployment", "platform-relay")["spec"]["template"]["spec"]["containers"][0]
    assert environment(relay)["STRATUM_SIGNING_KEY_FILE"]["value"] == "/etc/stratum/keys/new.pem:/etc/stratum/keys/old.pem"


def test_tenants_have_namespaces_of_their_own() -> None:
    manifests = rendered("everything")
    (namespace,) = of_kind(manifests, "Namespace")
    assert namespace["metadata"]["name"] == f"{NAMESPACE}-acme", "the other exists already"
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert namespace["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    (quota,) = of_kind(manifests, "ResourceQuota")
    assert (quota["metadata"]["namespace"], quota["spec"]["hard"]["pods"]) == (f"{NAMESPACE}-acme", "50")
    (secret,) = of_kind(manifests, "Secret")
    assert (secret["metadata"]["namespace"], secret["metadata"]["name"]) == (f"{NAMESPACE}-acme", "stratum-s3")
    policies = {each["metadata"]["namespace"] for each in of_kind(manifests, "NetworkPolicy")}
    assert policies == {NAMESPACE, f"{NAMESPACE}-acme", "globex-runs"}


@pytest.mark.parametrize("name", ["on", "no", "null", "123"])
def test_names_that_yaml_takes_for_something_else(name: str, tmp_path: Path) -> None:
    texts = tuple(f"tenants[0].{key}={name}" for key in ("name", "namespace", "queue", "priorityClass", "apiKey.existingSecret.name"))
    manifests = rendered("external", "networkPolicy.enabled=true", "networkPolicy.apiFrom[0].podSelector.a=b", texts=texts)

    def strings(document: Any) -> None:
        for value in document.values():
            if isinstance(value, dict):
                strings(value)
            else:
                assert isinstance(value, str), document

    for each in manifests:
        strings(each["metadata"])
        for subject in each.get("subjects", []):
            strings(subject)
        strings(each.get("roleRef", {}))
    assert named(manifests, "Namespace", name)["metadata"]["labels"]["stratum.dev/tenant"] == name
    peers = named(manifests, "NetworkPolicy", "stratum-api")["spec"]["ingress"][0]["from"]
    (peer,) = [each for each in peers if "namespaceSelector" in each]
    strings(peer)
    (job,) = [spec for of, spec in pods(manifests).items() if of == "Job/stratum-provision"]
    assert [each["secret"]["secretName"] for each in job["volumes"] if "secret" in each] == [name]
    place = launcher_config(manifests, tmp_path).place(name)
    assert (place.namespace, place.queue, place.priority_class) == (name, name, name)


def test_disk_may_be_given_as_a_number(tmp_path: Path) -> None:
    sets = ("runs.ephemeralStorage.request=10", "runs.ephemeralStorage.limit=107374182400")
    read = launcher_config(rendered("external", *sets), tmp_path).ephemeral_storage
    assert (read.request, read.limit) == ("10", "107374182400")


def test_only_webhooks_go_out() -> None:
    manifests = rendered("everything")
    outward = {}
    for policy in of_kind(manifests, "NetworkPolicy"):
        for rule in policy["spec"].get("egress", []):
            for peer in rule.get("to", []):
                if peer.get("ipBlock", {}).get("cidr") in ("0.0.0.0/0", "2000::/3"):
                    outward[policy["metadata"]["name"], peer["ipBlock"]["cidr"]] = (policy, rule, peer["ipBlock"])
    assert set(outward) == {("platform-webhooks", "0.0.0.0/0"), ("platform-webhooks", "2000::/3")}
    policy, rule, block = outward["platform-webhooks", "0.0.0.0/0"]
    assert policy["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "webhooks"
    assert {"10.0.0.0/8", "169.254.0.0/16", "127.0.0.0/8", "100.64.0.0/10"} <= set(block["except"])
    assert rule["ports"] == [{"port": 443, "protocol": "TCP"}, {"port": 8000, "protocol": "TCP", "endPort": 8999}]
    everybody = named(manifests, "NetworkPolicy", "platform-egress")["spec"]
    assert everybody["podSelector"]["matchLabels"].keys() == {"app.kubernetes.io/name", "app.kubernetes.io/instance"}
    assert everybody["policyTypes"] == ["Egress"]


@pytest.mark.parametrize(
    ("sets", "port"),
    [
        ((), 443),
        (("oidc.issuer=https://login.example:8443/realms/a",), 8443),
        (("oidc.issuer=http://login.example",), 80),
        (("oidc.jwksUrl=https://keys.example:9443/k",), 9443),
    ],
)
def test_the_api_reaches_its_identity_provider(sets: tuple[str, ...], port: int) -> None:
    egress = "networkPolicy.enabled=true", "networkPolicy.platformEgress[0].ports[0].port=5432"
    oidc = "oidc.issuer=https://login.example/", "oidc.audience=stratum"
    policy = named(rendered("external", *egress, *oidc, *sets), "NetworkPolicy", "stratum-api-egress")["spec"]
    assert policy["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "api"
    (rule,) = policy["egress"]
    assert "10.0.0.0/8" in rule["to"][0]["ipBlock"]["except"]
    assert rule["ports"] == [{"port": port, "protocol": "TCP"}]
    (given,) = named(rendered("everything"), "NetworkPolicy", "platform-api-egress")["spec"]["egress"]
    assert given["to"] == [{"ipBlock": {"cidr": "10.40.0.0/16"}}], "a provider inside"
    without = [each["metadata"]["name"] for each in of_kind(rendered("external", *egress), "NetworkPolicy")]
    assert "stratum-api-egress" not in without


def test_the_api_refuses_what_webhooks_would_refuse() -> None:
    for values, prefix in (("everything", "platform"), ("external", "stratum")):
        told = []
        for role in ("api", "webhooks"):
            (container,) = named(rendered(values), "Deployment", f"{prefix}-{role}")["spec"]["template"]["spec"]["containers"]
            told.append(
                {name: each for name, each in environment(container).items() if name in ("STRATUM_WEBHOOK_ALLOW", "STRATUM_WEBHOOK_PORTS")}
            )
        assert told[0] == told[1]
        assert len(told[0]) == 2
    settings = {"webhook_allow": told[0]["STRATUM_WEBHOOK_ALLOW"]["value"], "webhook_ports": told[0]["STRATUM_WEBHOOK_PORTS"]["value"]}
    assert WebhookTargetSettings.model_validate(settings) == WebhookTargetSettings(), "by default nothing but https to the public internet"


def test_the_text_printed_at_the_end_needs_nothing_unset() -> None:
    assert "<no value>" not in json.dumps([template(values) for values in CI])
