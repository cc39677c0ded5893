"""`stratum preflight` of a real installation: all well on a sound one, and each thing that can be wrong is seen and told how to mend."""

import asyncio
import secrets
import socket
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from tests.control_plane.installation import Installation, create_database, write_signing_key
from tests.control_plane.servers import s3_client
from tests.e2e.platform import Platform
from tests.preflight.conftest import FREE_OF_OURS, STRATUM, Answer, Deployment
from tests.preflight.serving import proxy
from tests.services import Services


def test_a_sound_installation_passes(sound: Deployment) -> None:
    answer = sound.preflight()
    # the test's servers never give up uploads, and bound all topics by size
    warnings = {"s3: unfinished uploads", "kafka: retention"}
    assert {name for name, status in answer.statuses().items() if status != "pass"} == {*warnings, "kubernetes: cluster"}
    assert {answer[name]["status"] for name in warnings} == {"warn"}
    assert answer["kubernetes: cluster"]["status"] == "skip"
    assert answer["api: tenant"]["detail"] == "acme, role admin, no expiry"
    assert answer.document["summary"] == {"pass": len(answer.document["checks"]) - 3, "warn": 2, "fail": 0, "skip": 1}
    assert answer.code == 0


def test_it_leaves_nothing_behind(sound: Deployment, installation: Installation, bucket: str) -> None:
    sound.preflight("--only", "kafka", "--only", "s3")
    assert installation.s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    assert "Uploads" not in installation.s3.list_multipart_uploads(Bucket=bucket)
    topics = AdminClient({"bootstrap.servers": installation.kafka_bootstrap}).list_topics(timeout=10).topics
    assert not [name for name in topics if ".preflight." in name]


def test_the_platform_on_this_machine_passes(platform: Platform) -> None:
    document = platform.json("preflight")
    assert [check for check in document["checks"] if check["status"] not in ("pass", "skip")] == []
    assert document["target"]["kind"] == "local"
    shown = platform.cli("preflight").stdout
    assert "Ready: " in shown
    assert "the platform on this machine" in shown


def test_no_secret_is_printed(sound: Deployment, token: str, installation: Installation) -> None:
    password = urlsplit(installation.database_url).password
    answer = sound.but(database_url=installation.database_url.replace("/stratum_", "/gone_"), s3_endpoint="http://127.0.0.1:1").preflight()
    assert answer.code == 1
    for secret in (token, password, installation.s3_secret_key):
        assert secret is not None
        assert secret not in answer.output


def test_without_a_target_it_is_a_usage_error(tmp_path: Path) -> None:
    wrong = {"STRATUM_HOME": str(tmp_path)}, {"STRATUM_DATABASE_POOL_SIZE": "x"}, {"STRATUM_KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}
    said = "nothing to look at", "STRATUM_DATABASE_POOL_SIZE", "needs STRATUM_KAFKA_SASL_MECHANISM"
    for variables, words in zip(wrong, said, strict=True):
        done = subprocess.run([*STRATUM, "preflight"], env={**FREE_OF_OURS, **variables}, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (2, "")
        assert words in done.stderr


def test_groups_are_chosen(sound: Deployment) -> None:
    assert {check["group"] for check in sound.preflight("--only", "tokens", "--only", "kafka", "--skip", "kafka").document["checks"]} == {
        "tokens"
    }


def expect(answer: Answer, name: str, status: str, *words: str) -> None:
    """The check has that status; detail and remedy hold the words."""
    check = answer[name]
    assert check["status"] == status, check
    text = f"{check['detail']} {check['remedy']}"
    assert check["remedy"]
    for word in words:
        assert word in text, check
    assert answer.code == (1 if answer.document["summary"]["fail"] else 0)


# --- API


def test_api_that_is_down(sound: Deployment) -> None:
    answer = sound.but(url=f"http://127.0.0.1:{unused_port()}").preflight("--only", "api")
    expect(answer, "api: alive", "fail", "STRATUM_URL")
    assert set(answer.statuses().values()) == {"fail", "skip"}


def test_unknown_token(sound: Deployment) -> None:
    expect(sound.but(token=secrets.token_urlsafe(32)).preflight("--only", "api"), "api: credentials", "fail", "401", "provision")


def test_token_of_another_tenant(sound: Deployment) -> None:
    expect(sound.preflight("--only", "api", "--tenant", "other"), "api: tenant", "fail", "acme", "other")


@pytest.mark.parametrize(("seconds", "status"), [(10, "warn"), (60, "fail"), (-60, "fail")])
def test_api_whose_clock_is_wrong(sound: Deployment, seconds: int, status: str) -> None:
    url = sound.environment["STRATUM_URL"]

    def skewed(request: str, headers: dict[str, str], body: bytes) -> httpx.Response | None:
        if not request.endswith("/v1/time"):
            return None
        return httpx.Response(200, json={"now": (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()})

    with proxy(url, skewed) as address:
        expect(sound.but(url=address).preflight("--only", "api"), "api: clock", status, "time server")


# --- PostgreSQL


def test_empty_database(sound: Deployment, services: Services) -> None:
    answer = sound.but(database_url=changed_database(services, None)).preflight("--only", "postgres")
    expect(answer, "postgres: schema", "fail", "empty", "migrate")


def test_schema_that_is_behind_or_ahead(sound: Deployment, services: Services) -> None:
    behind = changed_database(services, "UPDATE alembic_version SET version_num = '0001'")
    expect(sound.but(database_url=behind).preflight("--only", "postgres"), "postgres: schema", "fail", "0001", "migrate")
    ahead = changed_database(services, "UPDATE alembic_version SET version_num = '9999'")
    expect(sound.but(database_url=ahead).preflight("--only", "postgres"), "postgres: schema", "fail", "newer")


def test_missing_privileges(sound: Deployment, services: Services) -> None:
    url = changed_database(services, "REVOKE UPDATE, DELETE ON processes FROM CURRENT_USER")
    expect(sound.but(database_url=url).preflight("--only", "postgres"), "postgres: privileges", "fail", "processes: ", "DELETE", "GRANT")


def test_read_only_database(sound: Deployment, services: Services) -> None:
    url = changed_database(
        services, "DO $$BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END$$"
    )
    expect(sound.but(database_url=url).preflight("--only", "postgres"), "postgres: writable", "fail", "primary")


def test_wrong_password(sound: Deployment, installation: Installation) -> None:
    password = urlsplit(installation.database_url).password
    assert password is not None
    answer = sound.but(database_url=installation.database_url.replace(password, "wrong")).preflight("--only", "postgres")
    expect(answer, "postgres: reachable", "fail", "password authentication failed", "STRATUM_DATABASE_URL")


def test_too_few_connections(sound: Deployment) -> None:
    expect(sound.but(database_pool_size="1000").preflight("--only", "postgres"), "postgres: connections", "warn", "max_connections")


# --- Kafka


def test_missing_topics(sound: Deployment) -> None:
    answer = sound.but(topic_prefix=f"nobody-{secrets.token_hex(4)}").preflight("--only", "kafka")
    expect(answer, "kafka: topics", "fail", "commands.v1", "control_plane topics")
    assert answer["kafka: retention"]["status"] == "skip"


@pytest.mark.parametrize(
    ("config", "check", "status", "words"),
    [
        ({"retention.ms": "3600000"}, "retention", "fail", "0.0417 days"),
        ({"retention.ms": str(30 * 3_600_000)}, "retention", "warn", "weekend"),
        ({"cleanup.policy": "compact"}, "retention", "fail", "compacted"),
        ({"max.message.bytes": "1000"}, "message size", "fail", "4,000,000"),
        ({"min.insync.replicas": "2"}, "replication", "fail", "min.insync.replicas"),
    ],
)
def test_topics_made_wrong(sound: Deployment, services: Services, config: dict[str, str], check: str, status: str, words: str) -> None:
    prefix = f"wrong-{secrets.token_hex(4)}"
    names = [f"{prefix}.{name}.v1{dlq}" for name in ("commands", "cancels", "events") for dlq in ("", ".dlq")]
    good = {"retention.ms": "-1", "retention.bytes": "-1", "max.message.bytes": "4000000"}
    topics = [NewTopic(name, num_partitions=1, replication_factor=1, config={**good, **config}) for name in names]
    admin = AdminClient({"bootstrap.servers": services.kafka_bootstrap})
    for made in admin.create_topics(topics).values():
        made.result(15)
    expect(sound.but(topic_prefix=prefix).preflight("--only", "kafka"), f"kafka: {check}", status, words)


def test_kafka_that_is_down(sound: Deployment) -> None:
    answer = sound.but(kafka_bootstrap=f"127.0.0.1:{unused_port()}").preflight("--only", "kafka")
    expect(answer, "kafka: reachable", "fail", "refused", "STRATUM_KAFKA_BOOTSTRAP")


# --- object store


def test_missing_bucket(sound: Deployment) -> None:
    answer = sound.preflight("--only", "s3", "--storage-root", "s3://not-there/x")
    expect(answer, "s3: bucket", "fail", "not-there", "s3 mb")
    assert answer["s3: create-only"]["status"] == "skip"


def test_wrong_storage_keys(sound: Deployment) -> None:
    expect(sound.but(s3_secret_key="wrong").preflight("--only", "s3"), "s3: bucket", "fail", "403")


def test_store_that_ignores_create_only(sound: Deployment, installation: Installation) -> None:
    def replaced(request: str, headers: dict[str, str], body: bytes) -> httpx.Response | None:
        if not request.startswith("PUT ") or "If-None-Match" not in headers:
            return None
        bucket, _, key = request.removeprefix("PUT /").partition("?")[0].partition("/")
        # the header is signed: a store that does not know it is played by putting without it
        s3_client(installation.s3_endpoint, installation.s3_access_key, installation.s3_secret_key).put_object(
            Bucket=bucket, Key=key, Body=body
        )
        return httpx.Response(200)

    with proxy(installation.s3_endpoint, replaced) as endpoint:
        answer = sound.but(s3_endpoint=endpoint).preflight("--only", "s3")
    expect(answer, "s3: create-only", "fail", "16 of 16", "If-None-Match")
    expect(answer, "s3: presigned PUT", "fail", "replaced")


def test_store_that_ignores_a_signed_length(sound: Deployment, installation: Installation) -> None:
    def takes_more(request: str, headers: dict[str, str], body: bytes) -> httpx.Response | None:
        return httpx.Response(200) if request.startswith("PUT ") and "X-Amz-Signature" in request and body.endswith(b"more") else None

    with proxy(installation.s3_endpoint, takes_more) as endpoint:
        answer = sound.but(s3_endpoint=endpoint).preflight("--only", "s3")
    expect(answer, "s3: presigned PUT", "warn", "longer body", "max_stored_bytes")


@pytest.mark.parametrize("status", [403, 503])
def test_store_that_refuses_for_another_reason_than_the_checksum(sound: Deployment, installation: Installation, status: int) -> None:
    def refuse(request: str, headers: dict[str, str], body: bytes) -> httpx.Response | None:
        return httpx.Response(status) if request.startswith("PUT ") and "Content-MD5" in headers else None

    with proxy(installation.s3_endpoint, refuse) as endpoint:
        answer = sound.but(s3_endpoint=endpoint).preflight("--only", "s3")
    expect(answer, "s3: checksums", "warn", str(status), "BadDigest")


def test_each_root_is_a_check_of_its_own(sound: Deployment, bucket: str) -> None:
    """One that is not there says nothing of the others; one that is named twice is one."""
    roots = [f"s3://{bucket}/acme", "s3://not-there/x", f"s3://{bucket}/acme/"]
    answer = sound.preflight("--only", "s3", *(word for root in roots for word in ("--storage-root", root)))
    expect(answer, "s3: bucket, s3://not-there/x", "fail", "s3 mb")
    assert answer["s3: multipart, s3://not-there/x"]["status"] == "skip"
    assert answer[f"s3: multipart, s3://{bucket}/acme"]["status"] == "pass"


def test_public_endpoint_that_is_not_reachable(sound: Deployment) -> None:
    answer = sound.but(s3_public_endpoint=f"http://127.0.0.1:{unused_port()}").preflight("--only", "s3")
    expect(answer, "s3: presigned PUT", "warn", "STRATUM_S3_PUBLIC_ENDPOINT")


def test_manifest_of_another_contract(sound: Deployment, installation: Installation, bucket: str) -> None:
    key = "other/entity/v1/source/_manifest.json"
    installation.s3.put_object(Bucket=bucket, Key=key, Body=b'{"contract_version": 2}')
    try:
        answer = sound.preflight("--only", "s3", "--storage-root", f"s3://{bucket}/other")
    finally:
        installation.s3.delete_object(Bucket=bucket, Key=key)
    expect(answer, "s3: storage contract", "fail", "1 x 2", "reads 1")


# --- tokens


def test_signing_key_that_is_not_published(sound: Deployment, tmp_path: Path) -> None:
    key = Path(write_signing_key(tmp_path / "other.pem"))
    key.chmod(0o600)
    expect(sound.but(signing_key_file=str(key)).preflight("--only", "tokens"), "tokens: published", "fail", "STRATUM_SIGNING_KEY_FILE")
    key.chmod(0o644)
    expect(sound.but(signing_key_file=str(key)).preflight("--only", "tokens"), "tokens: signing key", "warn", "chmod 600")


def test_keys_that_are_not_there(sound: Deployment, tmp_path: Path) -> None:
    answer = sound.but(signing_key_file=str(tmp_path / "none.pem"), jwks_url=f"{sound.environment['STRATUM_URL']}/healthz").preflight(
        "--only", "tokens"
    )
    expect(answer, "tokens: signing key", "fail", "openssl genpkey")
    expect(answer, "tokens: public keys", "fail", "jwks.json")


def test_callback_in_the_clear(sound: Deployment) -> None:
    answer = sound.but(callback_base_url="http://stratum.example.org").preflight("--only", "tokens")
    expect(answer, "tokens: callback address", "warn", "https")


def changed_database(services: Services, statement: str | None) -> str:
    """A new migrated database after `statement`; an empty one without."""

    async def make() -> str:
        if statement is None:
            name = f"stratum_{secrets.token_hex(6)}"
            await run(services.database_url, f"CREATE DATABASE {name}")
            return f"{services.database_url.rsplit('/', 1)[0]}/{name}"
        url = await create_database(services.database_url)
        await run(url, statement)
        return url

    async def run(url: str, text: str) -> Any:
        connection = await asyncpg.connect(url)
        try:
            return await connection.execute(text)
        finally:
            await connection.close()

    return asyncio.run(make())


def unused_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])
