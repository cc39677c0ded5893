"""How the chart runs what it installs: hooks, upgrades, scaling, images, disks."""

import re
from pathlib import Path
from typing import Any

import pytest

from contracts.states import ProcessState
from tests.helm.chart import NAMESPACE, Manifest, config_maps, containers, environment, launcher_config, named, of_kind, pods, rendered

pytestmark = pytest.mark.cluster


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
    assert sorted(weights, key=lambda name: weights[name]) == ["platform-topics", "platform-migrate", "platform-provision"]
    for name in {name for each in jobs for name in config_maps(each["spec"]["template"]["spec"])}:
        annotations = named(rendered("everything"), "ConfigMap", name)["metadata"]["annotations"]
        assert int(annotations["helm.sh/hook-weight"]) < min(weights.values()), "what a hook mounts comes before it"
        assert "hook-succeeded" in annotations["helm.sh/hook-delete-policy"]


def test_nothing_is_migrated_while_something_is_missing_that_the_hook_after_it_needs() -> None:
    """Once the schema is new, the old release's pods cannot start again."""
    manifests = rendered("everything")
    migrate = named(manifests, "Job", "platform-migrate")["spec"]["template"]["spec"]
    provision = named(manifests, "Job", "platform-provision")["spec"]["template"]["spec"]
    wait, container = containers(migrate)
    assert (wait["args"][:2], container["args"]) == (["wait", "storage"], ["migrate"])
    for name in ("STRATUM_S3_ENDPOINT", "STRATUM_S3_ACCESS_KEY", "STRATUM_S3_SECRET_KEY", "STRATUM_CA_BUNDLE"):
        assert environment(wait)[name] == environment(provision["containers"][0])[name]
    keys = [each for each in provision["volumes"] if "secret" in each]
    assert [each["name"] for each in wait["volumeMounts"]] == ["tmp", "ca", *(each["name"] for each in keys)]
    assert [each["secret"]["items"] for each in keys] == [[{"key": "token", "path": "token"}], [{"key": "api-key", "path": "api-key"}]]
    assert [each for each in migrate["volumes"] if "secret" in each] == keys, "no container starts without what the pod mounts"


def test_more_tenants_ask_for_no_larger_node() -> None:
    """The scheduler adds up what containers side by side ask for; of those that come first it takes the largest."""
    job = named(rendered("everything"), "Job", "platform-provision")["spec"]["template"]["spec"]
    assert [each["name"] for each in containers(job)] == ["provision-acme", "provision-globex"]
    assert len(job["containers"]) == 1


def test_hooks_and_tests_go_where_the_services_may_go() -> None:
    for name, spec in pods(rendered("everything")).items():
        assert spec["nodeSelector"] == {"pool": "platform"}, name
        assert spec["tolerations"] == [{"key": "platform", "operator": "Exists"}], name


def test_deployments_have_the_replicas_that_all_have_or_their_own() -> None:
    def replicas(*sets: str) -> dict[str, int]:
        return {each["metadata"]["name"]: each["spec"]["replicas"] for each in of_kind(rendered("external", *sets), "Deployment")}

    assert set(replicas().values()) == {2}
    of_all = replicas("defaults.replicas=3", "relay.replicas=1")
    assert of_all.pop("stratum-relay") == 1
    assert list(of_all.values()) == [3] * 5


def test_the_deployment_checks_know_how_many_connections_all_pods_open() -> None:
    def told(*sets: str) -> str:
        spec = pods(rendered("external", *sets))["Pod/stratum-test-preflight"]
        return str(environment(spec["containers"][0])["STRATUM_DATABASE_CONNECTIONS"]["value"])

    assert told() == "82", "two of api, relay, reconcile and webhooks with ten each, and the locks of two relays"
    assert told("api.autoscaling.enabled=true", "database.poolSize=5", "relay.replicas=1") == "76"


def test_slow_deployments_give_their_checks_more_time() -> None:
    def arguments(*sets: str) -> list[str]:
        return list(pods(rendered("external", *sets))["Pod/stratum-test-preflight"]["containers"][0]["args"])

    assert arguments() == ["preflight", "--json", "--timeout", "30"]
    more = ("tests.checkTimeoutSeconds=120", "tests.startPods=false")
    assert arguments(*more) == ["preflight", "--json", "--timeout", "120", "--no-pods"]


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


def test_disk_may_be_given_as_a_number(tmp_path: Path) -> None:
    sets = ("runs.ephemeralStorage.request=10", "runs.ephemeralStorage.limit=107374182400")
    read = launcher_config(rendered("external", *sets), tmp_path).ephemeral_storage
    assert (read.request, read.limit) == ("10", "107374182400")
