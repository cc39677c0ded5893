"""Values that are refused, and why."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from contracts.command import MemorySize
from contracts.identifiers import Tenant
from contracts.layout import BUCKET_PATTERN, PREFIX_PATTERN
from launcher.kubernetes import config
from launcher.kubernetes.platform import LABEL_VALUE
from tests.helm.chart import CHART, NAMESPACE, Refused, launcher_config, rendered, template

pytestmark = pytest.mark.cluster

SCHEMA = json.loads((CHART / "values.schema.json").read_text())
RULES = {"pattern", "maxLength", "minLength", "minimum", "maximum", "properties", "additionalProperties", "required"}


@pytest.mark.parametrize(
    ("typo", "place"),
    [
        ("dev.enable=true", "/dev"),
        ("api.replica=2", "/api/replica"),
        ("api.service.prt=80", "/api/service"),
        ("relay.maxInflight=3", "/relay/maxInflight"),
        ("kafka.topics.partition=3", "/kafka/topics"),
        ("defaults.tolerantions=3", "/defaults/tolerantions"),
        ("runs.podLabel=x", "/runs"),
        ("tenants[0].name=a,tenants[0].buckets=b", "/tenants/0"),
        ("unheardOf=1", ""),
    ],
)
def test_a_misspelt_name_is_refused_with_its_place(typo: str, place: str) -> None:
    with pytest.raises(Refused, match=f"at '{place}'"):
        template("external", typo)


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        ("api.replicas=many", "/api/replicas"),
        ("kafka.securityProtocol=TLS", "/kafka/securityProtocol"),
        ("s3.endpoint=s3.example.com", "/s3/endpoint"),
        ("oidc.issuer=login.example", "/oidc/issuer"),
        ("oidc.algorithms={HS256}", "/oidc/algorithms/0"),
        ("oidc.roles.readers=owner", "/oidc/roles/readers"),
        ("tenants[0].prefix=data", "/tenants/0/prefix"),
        ("tenants[0].prefix=my data/", "/tenants/0/prefix"),
        ("tenants[0].prefix=*/", "/tenants/0/prefix"),
        ("tenants[0].bucket=Lake", "/tenants/0/bucket"),
        ("tenants[0].name=Acme", "/tenants/0/name"),
        ("images.spark.digest=abc", "/images/spark/digest"),
        ("runs.cpuRequestRatio=2", "/runs/cpuRequestRatio"),
        ("clusterName=My Cluster", "/clusterName"),
        ("image.pullSecrets={}", "/image/pullSecrets/0"),
        ("runs.serviceAccount=", "/runs/serviceAccount"),
        ("runs.executorServiceAccount=", "/runs/executorServiceAccount"),
        ("runs.memoryOverhead.min=0m", "/runs/memoryOverhead/min"),
        ("runs.ephemeralStorage.request=10 Gi", "/runs/ephemeralStorage/request"),
        ("runs.ephemeralStorage.limit=10ki", "/runs/ephemeralStorage/limit"),
        ("runs.ephemeralStorage.limit=-1", "/runs/ephemeralStorage/limit"),
        ("runs.tolerations[0].effects=NoSchedule", "/runs/tolerations/0"),
        ("runs.tolerations[0].effect=Never", "/runs/tolerations/0/effect"),
        ("runs.tolerations[0].value=true", "/runs/tolerations/0/value"),
        ("runs.executorDeadlineSeconds=2147483648", "/runs/executorDeadlineSeconds"),
        ("runs.queue=Team", "/runs/queue"),
        (f"runs.queue={'q' * 64}", "/runs/queue"),
        ("runs.priorityClass=a..b", "/runs/priorityClass"),
        (f"privateCA.existingConfigMap.key={'k' * 254}", "/privateCA/existingConfigMap/key"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_with_its_place(wrong: str, place: str) -> None:
    with pytest.raises(Refused, match=f"'{place}'"):
        template("external", wrong)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("name", config.Name),
        ("queue", config.Queue),
        ("label", config.Label),
        ("key", config.Key),
        ("quantity", config.Quantity),
        ("seconds", config.Seconds),
        ("memory", MemorySize),
        ("tenant", Tenant),
        ("toleration", config.Toleration),
    ],
)
def test_the_schema_refuses_what_the_launcher_would_not_start_with(name: str, kind: Any) -> None:
    """Each by the launcher's own rule: what only the launcher refused would stop `submit` and `observe` after the upgrade."""
    chart = SCHEMA["$defs"][name]
    launcher = TypeAdapter(kind).json_schema()
    assert chart.keys() >= launcher.keys() & RULES
    for rule in launcher.keys() & RULES - {"properties"}:
        assert chart[rule] == launcher[rule]
    assert chart.get("properties", {}).keys() == launcher.get("properties", {}).keys()


def test_a_cluster_may_be_called_what_the_launcher_takes_for_a_label() -> None:
    assert SCHEMA["properties"]["clusterName"]["pattern"] == f"^{LABEL_VALUE.pattern}$"
    tenant = SCHEMA["properties"]["tenants"]["items"]["properties"]
    assert (tenant["bucket"]["pattern"], tenant["prefix"]["pattern"]) == (BUCKET_PATTERN, PREFIX_PATTERN)


@pytest.mark.parametrize("quantity", ["1Ei", "1e9", "10Ki", "1E", "2.5Gi", ".5Gi", "1.", "500M", "12e-1"])
def test_disk_is_written_as_kubernetes_writes_it(quantity: str, tmp_path: Path) -> None:
    manifests = rendered("external", texts=(f"runs.ephemeralStorage.limit={quantity}",))
    assert launcher_config(manifests, tmp_path).ephemeral_storage.limit == quantity


def test_what_is_left_empty_or_has_dots_is_taken(tmp_path: Path) -> None:
    empty = ("nameOverride=", "tenants[0].queue=", "tenants[0].priorityClass=", "runs.queue=team.spark", "runs.priorityClass=low.est")
    place = launcher_config(rendered("external", *empty), tmp_path).place("acme")
    assert (place.queue, place.priority_class) == ("team.spark", "low.est")


def test_catalog_files_that_would_not_be_read_are_refused() -> None:
    with pytest.raises(Refused, match=r"'own' does not match pattern .*yaml"):
        template("external", "catalog.files.own=x")


def test_a_parent_chart_may_share_values() -> None:
    assert rendered("external", "global.imageRegistry=registry.example.com") == rendered("external")


def test_what_is_missing_is_named_all_at_once() -> None:
    with pytest.raises(Refused) as refused:
        template("")
    for name in (
        "database.existingSecret.name",
        "kafka.bootstrapServers",
        "s3.endpoint",
        "s3.existingSecret.name",
        "signingKeys.existingSecret.name",
        "tenants is empty",
        "dev.enabled=true for a trial",
    ):
        assert name in str(refused.value)


SECOND = "tenants[1].bucket=other,tenants[1].s3.accessKey=a,tenants[1].s3.secretKey=b"


@pytest.mark.parametrize(
    ("sets", "says"),
    [
        ("dev.enabled=true", "kafka.bootstrapServers is set, but dev.enabled brings its own"),
        ("kafka.securityProtocol=SASL_SSL", "needs kafka.sasl.mechanism and kafka.sasl.existingSecret.name"),
        ("kafka.sasl.mechanism=PLAIN", "of no use with kafka.securityProtocol PLAINTEXT"),
        ("kafka.topics.replication=1", "nothing could ever be stored"),
        ("runs.jobTtlSeconds=600", "runs.jobTtlSeconds must be more than runs.retentionSeconds"),
        ("oidc.issuer=https://login.example", "needs both oidc.issuer and oidc.audience"),
        ("oidc.audience=stratum", "needs both oidc.issuer and oidc.audience"),
        ("oidc.roles.readers=viewer", "of no use without oidc.issuer"),
        ("api.ingress.enabled=true", "needs api.ingress.hosts"),
        ("api.httpRoute.enabled=true", "needs api.httpRoute.parentRefs"),
        ("privateCA.existingConfigMap.name=a,privateCA.pem=-----BEGIN CERTIFICATE-----", "are both set"),
        ("catalog.existingConfigMap=a,catalog.files.b\\.yaml=c", "are both set"),
        ("tenants[0].s3.copy=true", "one of s3.existingSecret, s3.accessKey with s3.secretKey, or s3.copy"),
        ("tenants[0].s3.existingSecret.name=", "needs storage keys for its runs"),
        ("tenants[0].s3.existingSecret.name=,tenants[0].s3.accessKey=a", "needs both s3.accessKey and s3.secretKey"),
        (f"tenants[1].name=acme,{SECOND}", "acme is there twice"),
        (f"tenants[1].name=other,tenants[1].namespace={NAMESPACE}-acme,{SECOND}", f"{NAMESPACE}-acme is there twice"),
        (f"tenants[0].namespace={NAMESPACE}", "where drivers could read the platform's Secrets"),
        (
            "api.autoscaling.enabled=true,api.autoscaling.minReplicas=11",
            "api.autoscaling.minReplicas is larger than api.autoscaling.maxReplicas",
        ),
        ("submit.keda.enabled=true,submit.keda.minReplicas=7", "submit.keda.minReplicas is larger than submit.keda.maxReplicas"),
        ("api.drainSeconds=60", "api.drainSeconds and 30 s more do not fit into the API's terminationGracePeriodSeconds of 45"),
        ("api.drainSeconds=16", "do not fit into"),
        ("api.terminationGracePeriodSeconds=30", "do not fit into"),
        ("tenants[0].s3.existingSecret.name=,tenants[0].s3.copy=true", "there is no cluster to look it up in"),
    ],
)
def test_what_does_not_fit_together_is_said(sets: str, says: str) -> None:
    with pytest.raises(Refused, match=says):
        template("external", sets)


@pytest.mark.parametrize("sets", [("api.drainSeconds=15",), ("api.drainSeconds=60", "api.terminationGracePeriodSeconds=90")])
def test_a_longer_drain_needs_a_longer_grace(sets: tuple[str, ...]) -> None:
    assert rendered("external", *sets)
