"""Values that are refused, and why."""

import pytest

from tests.helm.chart import NAMESPACE, Refused, rendered, template

pytestmark = pytest.mark.cluster


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
        ("tenants[0].name=Acme", "/tenants/0/name"),
        ("images.spark.digest=abc", "/images/spark/digest"),
        ("runs.cpuRequestRatio=2", "/runs/cpuRequestRatio"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_with_its_place(wrong: str, place: str) -> None:
    with pytest.raises(Refused, match=f"'{place}'"):
        template("external", wrong)


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
        ("tenants[0].s3.existingSecret.name=,tenants[0].s3.copy=true", "there is no cluster to look it up in"),
    ],
)
def test_what_does_not_fit_together_is_said(sets: str, says: str) -> None:
    with pytest.raises(Refused, match=says):
        template("external", sets)
