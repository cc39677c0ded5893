"""What is judged without asking anybody: clocks, races, quotas, expiry of uploads, replication, pods that do not start."""

import ssl
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from contracts.access import TABLE
from contracts.catalog import DEFAULT_FOLDER, Catalog
from contracts.database import SCHEMA_REVISION
from contracts.topics import Topics
from control_plane.migration import head
from stratum.preflight import clock, kafka, postgres, probe_script, quota, s3, tokens
from stratum.preflight.access import Account, questions, words
from stratum.preflight.finding import Finding, failed, passed, skipped, warned, worst
from stratum.preflight.kubernetes import LEAST
from stratum.preflight.places import PlacesFile, places
from stratum.preflight.pod_checks import judge_keys
from stratum.preflight.probe_pod import Probe, ended, why_waiting
from stratum.preflight.target import Target
from stratum.preflight.upload_expiry import expiry_days, judge_expiry

FILE = PlacesFile.model_validate({"tenants": {"local": {"namespace": "runs"}}})
STANDARD = Catalog.load(DEFAULT_FOLDER).profiles["standard"]


def test_the_expected_schema_is_that_of_the_migrations() -> None:
    assert head() == SCHEMA_REVISION


@pytest.mark.parametrize(
    ("ahead", "uncertain", "status"),
    [
        (0.0, 0, "pass"),
        (1.9, 0, "pass"),
        (2.1, 0, "warn"),
        (-2.1, 0, "warn"),
        (2.1, 0.5, "pass"),
        (29.9, 0, "warn"),
        (30.1, 0, "fail"),
        (-31, 0.5, "fail"),
    ],
)
def test_clocks(ahead: float, uncertain: float, status: str) -> None:
    found = clock.judge(ahead, "the database", "this machine", uncertain)
    assert found.status == status
    assert ("behind" in found.detail) == (ahead < 0)


@pytest.mark.parametrize(
    ("answers", "status"),
    [
        ({"created": 1, "412": 15}, "pass"),
        ({"created": 1, "412": 10, "409": 5}, "pass"),
        ({"created": 16}, "fail"),
        ({"created": 2, "412": 14}, "fail"),
        ({"403": 16}, "fail"),
        ({"created": 1, "412": 14, "503": 1}, "warn"),
    ],
)
def test_races(answers: dict[str, int], status: str) -> None:
    assert s3.judge_race(Counter(answers)).status == status


@pytest.mark.parametrize(
    ("http", "code", "status"),
    [
        (200, "", "warn"),
        (400, "BadDigest", "pass"),
        (400, "InvalidDigest", "pass"),
        (400, "XAmzContentChecksumMismatch", "pass"),
        (400, "InvalidArgument", "warn"),
        (403, "AccessDenied", "warn"),
        (503, "SlowDown", "warn"),
    ],
)
def test_answers_to_a_wrong_checksum(http: int, code: str, status: str) -> None:
    found = s3.judge_wrong_checksum(http, code)
    assert found.status == status
    assert code in found.detail


@pytest.mark.parametrize(
    ("days", "hours", "status"), [(7, 1, "pass"), (1, 23.9, "pass"), (1, 24, "fail"), (1, 48, "fail"), (None, 1, "warn")]
)
def test_expiry_of_uploads(days: float | None, hours: float, status: str) -> None:
    assert judge_expiry(days, int(hours * 3600), is_minio=False, is_local=False).status == status


@pytest.mark.parametrize(("days", "hours", "status"), [(None, 23.9, "pass"), (None, 24, "warn"), (7, 48, "warn"), (1, 48, "fail")])
def test_expiry_of_uploads_in_minio_is_not_seen(days: float | None, hours: float, status: str) -> None:
    """It may have been raised long ago: what nobody sees is no failure."""
    found = judge_expiry(days, int(hours * 3600), is_minio=True, is_local=False)
    assert found.status == status
    assert ("mc admin config get" in found.remedy) == (status == "warn")


def test_expiry_is_that_of_the_rules_that_meet_the_root() -> None:
    def rule(days: int, status: str = "Enabled", **more: Any) -> dict[str, Any]:
        return {"Status": status, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": days}, **more}

    assert expiry_days([], "acme/") is None
    assert expiry_days([rule(7, Filter={"Prefix": ""}), rule(3, Filter={"Prefix": "acme/"})], "acme/") == 3
    assert expiry_days([rule(7), rule(3, Filter={"Prefix": "other/"}), rule(1, "Disabled")], "acme/") == 7
    assert expiry_days([{"Status": "Enabled", "Expiration": {"Days": 2}}], "") is None


@pytest.mark.parametrize(
    ("brokers", "replicas", "in_sync", "needed", "status"),
    [(1, 1, 1, 1, "pass"), (3, 3, 3, 2, "pass"), (3, 3, 2, 2, "warn"), (3, 1, 1, 1, "warn"), (3, 3, 3, 1, "warn"), (3, 2, 2, 3, "fail")],
)
def test_replication(brokers: int, replicas: int, in_sync: int, needed: int, status: str) -> None:
    topic = kafka.Topic("t", 6, 0, replicas, in_sync, {"min.insync.replicas": str(needed)})
    assert kafka.judge_replication(kafka.Seen(brokers, {"t": topic})).status == status


def seen_with_rights(**changed: frozenset[str] | None) -> kafka.Seen:
    """All topics with all rights, but for those that end with the name."""
    names = Topics("s").all
    rights = {name: changed.get(name.removeprefix("s.").removesuffix(".v1"), frozenset({"READ", "WRITE", "DESCRIBE"})) for name in names}
    return kafka.Seen(1, {name: kafka.Topic(name, 1, 0, 1, 1, {}, rights[name]) for name in names})


def test_rights_on_the_real_topics() -> None:
    assert kafka.judge_rights(seen_with_rights(), Topics("s")).status == "pass"
    assert kafka.judge_rights(seen_with_rights(events=None), Topics("s")).status == "skip"
    found = kafka.judge_rights(seen_with_rights(commands=frozenset({"DESCRIBE", "READ"}), events=frozenset({"WRITE"})), Topics("s"))
    assert found.status == "warn"
    assert found.detail == "these credentials may not WRITE s.commands.v1 (relay), READ s.events.v1 (reconcile)"


def test_security_of_messages() -> None:
    assert kafka.judge_security("SASL_SSL", False).status == "pass"
    assert kafka.judge_security("PLAINTEXT", True).status == "pass"
    assert kafka.judge_security("SASL_PLAINTEXT", False).status == "warn"


@pytest.mark.parametrize(
    ("free", "own", "status"), [(200, 0, "pass"), (41, 0, "pass"), (40, 0, "warn"), (30, 11, "pass"), (30, 10, "warn")]
)
def test_room_for_connections(free: int, own: int, status: str) -> None:
    """The services' own are no less theirs while they hold them."""
    needed = Target(database_pool_size=10).connections_needed
    assert postgres.judge_room(postgres.Room(200, 200 - free, "the server's limit", own), needed).status == status


def test_an_installation_may_say_how_many_connections_it_opens() -> None:
    assert Target(database_pool_size=10, database_connections=82).connections_needed == 82


@pytest.mark.parametrize(
    ("url", "on_cluster", "status"),
    [
        ("https://stratum.example.org", True, "pass"),
        ("http://stratum-api.stratum.svc:8080", True, "pass"),
        ("http://stratum-api:8080", True, "pass"),
        ("http://127.0.0.1:8080", False, "pass"),
        ("http://127.0.0.1:8080", True, "fail"),
        ("http://stratum.example.org", True, "warn"),
        ("stratum", True, "fail"),
        (None, False, "skip"),
    ],
)
def test_callback_addresses(url: str | None, on_cluster: bool, status: str) -> None:
    assert tokens.judge_callback(url, on_cluster=on_cluster).status == status


def test_key_sets() -> None:
    assert tokens.judge_keys([], "u").status == "fail"
    assert tokens.judge_keys([{"kty": "RSA", "kid": "r"}], "u").detail == "not Ed25519: r"
    assert tokens.judge_keys([{"kty": "OKP", "crv": "Ed25519"}], "u").status == "pass"


# a run of the profile `standard` takes 1g + 410m for the driver, 2g + 820m for an executor, 128m for the sidecar; 3 cores, 2 pods
@pytest.mark.parametrize(
    ("hard", "used", "status"),
    [
        ({}, {}, "pass"),
        ({"pods": "10", "limits.memory": "16Gi"}, {"pods": "2", "limits.memory": "4Gi"}, "pass"),
        ({"limits.memory": "4430Mi"}, {}, "pass"),
        ({"limits.memory": "4429Mi"}, {}, "fail"),
        ({"requests.cpu": "2999m"}, {}, "fail"),
        ({"requests.cpu": "4"}, {"requests.cpu": "1500m"}, "warn"),
        ({"pods": "10"}, {"pods": "9"}, "warn"),
        ({"limits.cpu": "100"}, {}, "fail"),
    ],
)
def test_quotas(hard: dict[str, str], used: dict[str, str], status: str) -> None:
    assert quota.judge([{"name": "q", "hard": hard, "used": used}], {"standard": quota.need(STANDARD, FILE)}, "runs").status == status


def test_a_quota_that_only_large_profiles_do_not_fit() -> None:
    needs = {"standard": quota.need(STANDARD, FILE), "large": quota.need(STANDARD.model_copy(update={"executor_memory": "20g"}), FILE)}
    found = quota.judge([{"name": "q", "hard": {"limits.memory": "16Gi"}, "used": {}}], needs, "runs")
    assert (found.status, "standard" in found.detail) == ("warn", False)
    assert "large needs limits.memory 30234Mi of 16Gi" in found.detail
    room = [{"name": "q", "hard": {"limits.memory": "40Gi"}, "used": {"limits.memory": "30Gi"}}]
    assert quota.judge(room, needs, "runs").status == "pass"
    assert quota.judge([{"name": "q", "hard": {"limits.memory": "1Gi"}, "used": {}}], needs, "runs").status == "fail"


def test_preflight_wants_the_kubernetes_that_the_chart_wants() -> None:
    chart = yaml.safe_load((Path(__file__).parents[2] / "helm/stratum/Chart.yaml").read_text())
    assert chart["kubeVersion"] == f">={'.'.join(map(str, LEAST))}.0-0"


def test_every_row_of_the_table_is_asked_for() -> None:
    asked = questions(Account("observe", "own", "o"), "own", ["a", "b"])
    rows = [row for row in TABLE if row.role == "observe"]
    assert len(asked) == sum(len(row.verbs) * (2 if row.where == "tenant" else 1) for row in rows)
    assert {question.namespace for question in asked if question.row.resource == "leases"} == {"own"}
    assert (
        words([question for question in asked if question.row.resource == "leases"])
        == "get, create, update leases.coordination.k8s.io in own"
    )


def test_storage_keys_of_runs() -> None:
    assert judge_keys({"file": "written", "manifest": "403 AccessDenied"}).status == "pass"
    assert judge_keys({"file": "written", "manifest": "written"}).status == "warn"
    assert judge_keys({"file": "403 AccessDenied", "manifest": "403 AccessDenied"}).status == "fail"
    assert judge_keys(None).status == "skip"


def test_why_a_pod_waits() -> None:
    def waits(name: str, reason: str, message: str) -> SimpleNamespace:
        return SimpleNamespace(name=name, image="i:1", state=SimpleNamespace(waiting=SimpleNamespace(reason=reason, message=message)))

    def status(first: list[Any] | None, containers: list[Any] | None, conditions: list[Any] | None) -> SimpleNamespace:
        return SimpleNamespace(init_container_statuses=first, container_statuses=containers, conditions=conditions)

    waiting = waits("preflight", "ImagePullBackOff", "no such image")
    unscheduled = SimpleNamespace(type="PodScheduled", status="False", reason="Unschedulable", message="0/1 nodes")
    assert why_waiting(status(None, [waiting], [])) == ("ImagePullBackOff", "no such image")
    assert why_waiting(status(None, None, [unscheduled])) == ("Unschedulable", "0/1 nodes")
    assert why_waiting(status(None, None, None)) == ("", "")
    sidecar = waits("sidecar", "ImagePullBackOff", "no such image")
    found = why_waiting(status([sidecar], [waits("preflight", "PodInitializing", "")], []))
    assert found == ("ImagePullBackOff", "the sidecar's image i:1: no such image")


def test_a_pod_that_ended_without_a_report() -> None:
    def of(name: str, **terminated: Any) -> SimpleNamespace:
        state = SimpleNamespace(terminated=SimpleNamespace(**terminated) if terminated else None)
        return SimpleNamespace(name=name, image="i:1", state=state)

    def pod(sidecar: SimpleNamespace, container: SimpleNamespace) -> SimpleNamespace:
        containers = {"init_container_statuses": [sidecar], "container_statuses": [container]}
        status = SimpleNamespace(**containers, message="late", reason="DeadlineExceeded")
        return SimpleNamespace(status=status, spec=SimpleNamespace(node_name="n"))

    fine = of("sidecar", reason="Completed", exit_code=0, message=None)
    no_python = 'exec: "python": executable file not found in $PATH'
    found = ended(pod(fine, of("preflight", reason="StartError", exit_code=128, message=no_python)))
    assert found.report is None
    assert "StartError" in found.problem
    found = ended(pod(of("sidecar", reason="StartError", exit_code=128, message=no_python), of("preflight")))
    assert found.problem == f"the sidecar's image i:1: StartError: {no_python}"
    assert "sidecar_image" in found.remedy
    assert "DeadlineExceeded" in ended(pod(fine, of("preflight"))).problem


def test_the_pod_that_looks_around_needs_the_sidecars_image_too() -> None:
    """As a run does."""
    file = FILE.model_copy(update={"sidecar_image": "registry.example/launcher:1"})
    (place,) = places(file, None)
    spec = Probe(place, file, "registry.example/spark:1").manifest("p", 60)["spec"]
    containers = [*spec["initContainers"], *spec["containers"]]
    assert [each["image"] for each in containers] == ["registry.example/launcher:1", "registry.example/spark:1"]
    assert all(each["securityContext"]["readOnlyRootFilesystem"] for each in containers)
    assert "/tmp" in [each["mountPath"] for each in spec["containers"][0]["volumeMounts"]]


def test_private_authorities_are_trusted_beside_the_public_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An object store may have a public certificate where Kafka or the API has a private one."""
    monkeypatch.setenv("STRATUM_CA_BUNDLE", str(private_authority(tmp_path)))
    trusted = probe_script.trusted()
    assert trusted is not None
    names = {dict(part[0] for part in each["subject"]).get("commonName") for each in authorities(trusted)}
    assert "ISRG Root X1" in names
    assert "Private" in names
    monkeypatch.delenv("STRATUM_CA_BUNDLE")
    assert probe_script.trusted() is None


def authorities(file: str) -> list[Any]:
    return ssl.create_default_context(cafile=file).get_ca_certs()


def private_authority(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Private")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    file = folder / "ca.pem"
    file.write_bytes(made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return file


def test_the_worst_answer_counts() -> None:
    assert worst([passed("a"), passed("b"), passed("a")]).detail == "a; b"
    assert worst([passed("a"), skipped("b"), warned("c", "do"), failed("d", "mend")]) == Finding("fail", "d", "mend")
