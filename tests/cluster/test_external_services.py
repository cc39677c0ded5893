"""A release on services of one's own: hooks prepare it before anything else is there, a private authority vouches for its store."""

import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import trustme

from tests.cluster.cluster import PortForward, free_port
from tests.cluster.release import CHART, NAMESPACE, VALUES, Release
from tests.cluster.release import NAME as SERVICES
from tests.control_plane.installation import write_signing_key
from tests.e2e.platform import Installation

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

NAME = PLACE = "stratum-external"
TENANT, RUNS, BUCKET, DATABASE = "acme", "stratum-external-acme", "acme-data", "external"
STORE = f"store.{PLACE}.svc"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def store(release: Release, authority: trustme.CA) -> Iterator[dict[str, Any]]:
    """A MinIO that speaks TLS only: how it is reached from here, and its keys."""
    cluster, port = release.cluster, free_port()
    for namespace in (PLACE, RUNS):
        cluster.kubectl("create", "namespace", namespace, check=False)
        cluster.kubectl("label", "namespace", namespace, "--overwrite", "pod-security.kubernetes.io/enforce=restricted")
    keys = {"access-key": secrets.token_hex(8), "secret-key": secrets.token_hex(16)}
    issued = authority.issue_cert(STORE, "127.0.0.1")
    pem = {"public.crt": issued.cert_chain_pems[0].bytes().decode(), "private.key": issued.private_key_pem.bytes().decode()}
    for document in (_secret(PLACE, "store", keys), _secret(PLACE, "certificate", pem), _minio(), _service()):
        cluster.apply(document)
    cluster.kubectl("wait", "pod/store", "-n", PLACE, "--for=condition=Ready", "--timeout=120s")
    with PortForward(PLACE, "store", 9000, port):
        yield {
            "endpoint": f"https://127.0.0.1:{port}",
            "bucket": BUCKET,
            "access_key": keys["access-key"],
            "secret_key": keys["secret-key"],
        }
    for namespace in (PLACE, RUNS):
        cluster.kubectl("delete", "namespace", namespace, "--timeout=180s")


@pytest.fixture(scope="module")
def external(
    release: Release, store: dict[str, Any], authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """The chart without `dev`: PostgreSQL and Kafka are another release's, the store is behind TLS."""
    cluster, folder = release.cluster, tmp_path_factory.mktemp("external")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    token = secrets.token_hex(32)
    _make_secrets(release, store, token, folder)
    values = {
        "dev": {"enabled": False},
        "clusterName": NAME,
        "database": {"existingSecret": {"name": "database"}},
        "kafka": {
            "bootstrapServers": f"{SERVICES}-kafka.{NAMESPACE}.svc:9092",
            "topicPrefix": f"external-{secrets.token_hex(4)}",
            "topics": {"replication": 1, "minInsyncReplicas": 1},
        },
        "s3": {"endpoint": f"https://{STORE}:9000", "publicEndpoint": store["endpoint"], "existingSecret": {"name": "store"}},
        "signingKeys": {"existingSecret": {"name": "signing-keys"}},
        "tenants": [
            {
                "name": TENANT,
                "bucket": BUCKET,
                "namespace": RUNS,
                "createNamespace": False,
                "apiKey": {"existingSecret": {"name": "acme-api-key"}},
                "s3": {"existingSecret": {"name": "acme-s3"}},
            }
        ],
    }
    (folder / "values.json").write_text(json.dumps(values))
    given = ("-f", str(VALUES[0]), "-f", str(folder / "values.json"), "--set-file", f"privateCA.pem={folder / 'ca.pem'}")
    cluster.helm("upgrade", "--install", NAME, str(CHART), "-n", PLACE, *given, "--wait", "--timeout", "10m")
    with PortForward(PLACE, f"{NAME}-api", 80) as api, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_CA_BUNDLE", str(folder / "ca.pem"))
        document = {"url": f"http://127.0.0.1:{api.local}", "token": token, "s3": store}
        environment = {
            **release._environment,
            "STRATUM_URL": document["url"],
            "STRATUM_TOKEN": token,
            "SSL_CERT_FILE": str(folder / "ca.pem"),
        }
        yield Installation(environment, document)
    cluster.helm("uninstall", NAME, "-n", PLACE, "--wait", "--timeout", "5m")


@pytest.fixture(scope="module")
def done(external: Installation, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A run with two executors that read and wrote the store."""
    file = tmp_path_factory.mktemp("orders") / "orders.csv"
    file.write_text("".join(["order,amount\n", *(f"{number},{number}\n" for number in range(100))]))
    external.json("ingest", "shop", "v1", str(file))
    process = external.post(
        entity_id="shop",
        data_version="v1",
        action="filter",
        parameters={"condition": "amount > 89"},
        output_dataset="large",
        resource_profile={"executor_instances": 2},
    )
    return external.wait(process["id"], "succeeded")


def test_a_run_reads_and_writes_a_store_that_a_private_authority_vouches_for(external: Installation, done: dict[str, Any]) -> None:
    assert done["artifacts"][0]["rows"] == 10
    assert done["artifacts"][0]["location"].startswith(f"s3://{BUCKET}/shop/v1/large/")
    external.assert_sealed_exactly(done)
    assert external.json("head", "shop", "v1", "large")


def test_its_log_was_shipped_there(external: Installation, done: dict[str, Any]) -> None:
    assert '"event": "finished"' in external.cli("logs", done["id"]).stdout


def test_without_the_authority_nobody_here_trusts_the_store(external: Installation, done: dict[str, Any]) -> None:
    """The control: the certificate is not one that is trusted anyway."""
    stranger = Installation({name: text for name, text in external._environment.items() if name != "SSL_CERT_FILE"}, external.document)
    assert "certificate" in stranger.cli("head", "shop", "v1", "large", code=5).stderr.lower()


@pytest.mark.usefixtures("external")
def test_hooks_that_went_well_leave_nothing(release: Release) -> None:
    assert release.cluster.items("jobs", PLACE) == []


@pytest.mark.usefixtures("external")
def test_the_releases_own_checks(release: Release) -> None:
    tested = release.cluster.helm("test", NAME, "-n", PLACE, "--logs", "--timeout", "8m", check=False)
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert '"fail": 0' in tested.stdout


def test_an_upgrade_runs_the_hooks_again_and_keeps_everything(release: Release, external: Installation, done: dict[str, Any]) -> None:
    release.cluster.helm(
        "upgrade", NAME, str(CHART), "-n", PLACE, "--reuse-values", "--set", "relay.maxInFlight=150", "--wait", "--timeout", "10m"
    )
    assert external.get(done["id"]) == done


def _make_secrets(release: Release, store: dict[str, Any], token: str, folder: Path) -> None:
    """What the manual says to make by hand, and a database."""
    sql = (f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)", f"CREATE DATABASE {DATABASE}")
    for statement in sql:
        release.cluster.kubectl("exec", "-n", NAMESPACE, f"{SERVICES}-postgresql-0", "--", "psql", "-U", "stratum", "-c", statement)
    url = urlsplit(release.secret(f"{SERVICES}-postgresql")["database-url"])
    key = Path(write_signing_key(folder / "signing-key.pem")).read_text()
    keys = {"access-key": store["access_key"], "secret-key": store["secret_key"]}
    for document in (
        _secret(PLACE, "database", {"database-url": url._replace(path=f"/{DATABASE}").geturl()}),
        _secret(PLACE, "signing-keys", {"signing-key.pem": key}),
        _secret(PLACE, "acme-api-key", {"api-key": token}),
        _secret(RUNS, "acme-s3", keys),
    ):
        release.cluster.apply(document)


def _secret(namespace: str, name: str, texts: dict[str, str]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace}, "stringData": texts}


def _minio() -> dict[str, Any]:
    root = [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": "store", "key": key}}}
        for name, key in (("MINIO_ROOT_USER", "access-key"), ("MINIO_ROOT_PASSWORD", "secret-key"))
    ]
    container = {
        "name": "minio",
        "image": "localhost/stratum/dev-minio:dev",
        "args": ["server", "/data", "--certs-dir", "/certificate"],
        "env": [{"name": "HOME", "value": "/data"}, *root],
        "readinessProbe": {"httpGet": {"path": "/minio/health/ready", "port": 9000, "scheme": "HTTPS"}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "20m", "memory": "128Mi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "certificate", "mountPath": "/certificate"}],
    }
    spec = {
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "fsGroup": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [{"name": "data", "emptyDir": {}}, {"name": "certificate", "secret": {"secretName": "certificate"}}],
    }
    metadata = {"name": "store", "namespace": PLACE, "labels": {"app": "store"}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _service() -> dict[str, Any]:
    spec = {"selector": {"app": "store"}, "ports": [{"port": 9000}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "store", "namespace": PLACE}, "spec": spec}
