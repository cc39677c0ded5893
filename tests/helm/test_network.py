"""Who reaches whom, as the chart renders it."""

import pytest

from control_plane.settings import (
    WebhookTargetSettings,
)
from tests.helm.chart import NAMESPACE, environment, named, of_kind, pods, rendered

pytestmark = pytest.mark.cluster


def test_outside_sees_the_api_and_not_what_operators_look_at() -> None:
    manifests = rendered("everything")
    (rule,) = named(manifests, "Ingress", "platform-api")["spec"]["rules"]
    assert {path["path"] for path in rule["http"]["paths"]} == {"/v1", "/.well-known", "/docs", "/openapi.json"}
    (route,) = named(manifests, "HTTPRoute", "platform-api")["spec"]["rules"]
    assert {match["path"]["value"] for match in route["matches"]} == {"/v1", "/.well-known", "/docs", "/openapi.json"}


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


API_OF_THE_LAUNCHER = (
    ("Deployment/stratum-submit", "STRATUM_JWKS_URL", "/.well-known/jwks.json"),
    ("Deployment/stratum-observe", "STRATUM_CALLBACK_BASE_URL", ""),
    ("Pod/stratum-test-preflight", "STRATUM_JWKS_URL", "/.well-known/jwks.json"),
)


def _addresses(*sets: str) -> list[str]:
    """Those of the API by which the launcher and the deployment checks ask it, without paths."""
    found = pods(rendered("external", *sets))
    given = [(environment(found[pod]["containers"][0])[name]["value"], path) for pod, name, path in API_OF_THE_LAUNCHER]
    assert all(address.endswith(path) for address, path in given)
    return [address.removesuffix(path) for address, path in given]


def test_the_launcher_reaches_the_api_without_leaving_the_cluster() -> None:
    """`platformEgress` lets it reach what it is named and pods of the release, and not where runs may find the API."""
    inside = f"http://stratum-api.{NAMESPACE}.svc:80"
    assert _addresses() == [inside] * 3
    outside = "callbackBaseUrl=https://stratum.example.com"
    assert _addresses(outside) == [inside] * 3
    for role in ("api", "relay"):
        spec = pods(rendered("external", outside))[f"Deployment/stratum-{role}"]
        assert environment(spec["containers"][0])["STRATUM_CALLBACK_BASE_URL"]["value"] == "https://stratum.example.com", (
            "what runs are told"
        )
    preflight = pods(rendered("external", outside))["Pod/stratum-test-preflight"]["containers"][0]
    assert environment(preflight)["STRATUM_CALLBACK_BASE_URL"]["value"] == "https://stratum.example.com"


def test_a_launcher_whose_api_is_elsewhere_asks_it_there() -> None:
    outside = ("callbackBaseUrl=https://stratum.example.com", "api.replicas=0")
    assert _addresses(*outside) == ["https://stratum.example.com"] * 3
    assert _addresses(*outside, "api.autoscaling.enabled=true") == [f"http://stratum-api.{NAMESPACE}.svc:80"] * 3


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
