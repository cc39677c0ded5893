"""The roles as an operator runs them: settings, migrations, and what is refused at the start."""

import asyncio
import signal
from pathlib import Path

import pytest

from contracts.database import SCHEMA_REVISION
from control_plane import migration
from stratum.local.ports import choose_port
from tests.control_plane.commands import Command, run
from tests.control_plane.installation import Installation, create_database, prepare_topics
from tests.control_plane.waiting import eventually
from tests.services import Services


@pytest.mark.parametrize(
    ("role", "changes", "variable"),
    [
        ("api", {"STRATUM_DATABASE_URL": None}, "STRATUM_DATABASE_URL: Field required"),
        ("api", {"STRATUM_HTTP_PORT": "99999"}, "STRATUM_HTTP_PORT: "),
        ("api", {"STRATUM_CALLBACK_BASE_URL": "nowhere"}, "STRATUM_CALLBACK_BASE_URL: "),
        ("relay", {"STRATUM_DATABASE_URL": "mysql://host/db"}, "STRATUM_DATABASE_URL: "),
        ("relay", {"STRATUM_MAX_IN_FLIGHT": "many"}, "STRATUM_MAX_IN_FLIGHT: "),
        ("reconcile", {"STRATUM_S3_SECRET_KEY": None}, "STRATUM_S3_SECRET_KEY: Field required"),
        ("reconcile", {"STRATUM_LEASE_SECONDS": "-1"}, "STRATUM_LEASE_SECONDS: "),
        ("webhooks", {"STRATUM_WEBHOOK_ALLOW": "10.0.0.1/8"}, "STRATUM_WEBHOOK_ALLOW: "),
        ("webhooks", {"STRATUM_WEBHOOK_PORTS": "https"}, "STRATUM_WEBHOOK_PORTS: "),
        ("api", {"STRATUM_WEBHOOK_PORTS": "0"}, "STRATUM_WEBHOOK_PORTS: "),
        ("migrate", {"STRATUM_DATABASE_URL": ""}, "STRATUM_DATABASE_URL: "),
    ],
)
async def test_a_wrong_setting_is_named(role: str, changes: dict[str, str | None], variable: str, still: Installation) -> None:
    code, output = await run(still, role, **changes)
    assert code == 2, output
    assert variable in output
    assert "Traceback" not in output
    assert still.s3_secret_key not in output


async def test_a_signing_key_that_is_not_there(still: Installation) -> None:
    code, output = await run(still, "relay", STRATUM_SIGNING_KEY_FILE="/nowhere/key.pem")
    assert (code, "cannot read the signing key /nowhere/key.pem" in output, "Traceback" in output) == (1, True, False), output


@pytest.mark.parametrize("role", ["api", "relay", "reconcile", "webhooks"])
@pytest.mark.parametrize("revision", [None, "9999"])
async def test_a_service_refuses_a_schema_that_it_does_not_know(
    role: str, revision: str | None, still: Installation, services: Services
) -> None:
    if revision is None:
        still = Installation(**{**still.__dict__, "database_url": await _empty(services)})
    else:
        async with still.sql() as sql:
            await sql.execute("UPDATE alembic_version SET version_num = $1", revision)
    code, output = await run(still, role, STRATUM_HTTP_PORT=str(choose_port(set())))
    assert code == 1, output
    assert f"the database is at schema {revision or 'none'}, this version needs {SCHEMA_REVISION}" in output
    assert "Traceback" not in output


async def test_a_schema_that_turns_out_wrong_later_is_an_answer(still: Installation, services: Services) -> None:
    """The database was down when the API started."""
    empty = Installation(**{**still.__dict__, "database_url": await _empty(services)})
    async with empty.api() as client:
        answer = await client.get("/v1/processes", headers={"Authorization": "Bearer key"})
        assert (answer.status_code, answer.json()["type"]) == (503, "urn:stratum:problem:unavailable")
        assert "schema" in answer.json()["detail"]
        ready = await client.get("/readyz")
        assert (ready.status_code, "schema" in ready.json()["checks"]["postgres"]) == (503, True)


async def _empty(services: Services) -> str:
    """A database without a schema."""
    return await create_database(services.database_url, template="template1")


async def test_migrations_run_twice_and_two_at_once(services: Services, still: Installation) -> None:
    url = await _empty(services)
    assert await asyncio.gather(*(migration.migrate(url) for _ in range(3))) == [SCHEMA_REVISION] * 3
    code, output = await run(Installation(**{**still.__dict__, "database_url": url}), "migrate")
    assert (code, output.strip()) == (0, f"schema {SCHEMA_REVISION}")


async def test_a_migration_that_cannot_run_says_so(still: Installation) -> None:
    code, output = await run(Installation(**{**still.__dict__, "database_url": "postgresql://nobody@127.0.0.1:9/none"}), "migrate")
    assert (code, "the migration failed and changed nothing" in output, "Traceback" in output) == (1, True, False), output


async def test_an_installation_is_prepared_by_commands_that_can_be_repeated(still: Installation, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("a-long-and-random-api-key\n")
    options = ("--tenant", "acme", "--bucket", "stratum-test", "--prefix", f"{still.topic_prefix}/acme/", "--api-key-file", str(key))
    for _ in range(2):
        code, output = await run(still, "provision", *options)
        assert (code, output.strip()) == (0, f"tenant acme in s3://stratum-test/{still.topic_prefix}/acme/")
    async with still.api() as client:
        headers = {"Authorization": "Bearer a-long-and-random-api-key"}
        assert (await client.get("/v1/processes", headers=headers)).status_code == 200
    first, second = await run(still, "topics"), await run(still, "topics")
    assert (first[0], first[1].startswith(f"created: {still.topic_prefix}.commands.v1, ")) == (0, True)
    assert second == (0, "all topics exist\n")
    key.write_text("short")
    code, output = await run(still, "provision", *options)
    assert (code, "make one of at least 24" in output) == (1, True)


async def test_roles_end_when_they_are_told_to(still: Installation) -> None:
    prepare_topics(still)
    roles = [Command(still, role, STRATUM_HTTP_PORT=str(choose_port(set()))) for role in ("api", "relay", "reconcile")]
    query = "SELECT count(*) >= 2 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    async with still.sql() as sql:
        await eventually(lambda: sql.fetchval(query), 30, "the roles' connections")
    for role in roles:
        role.terminate()
    for role in roles:
        code, output = await role.ended()
        # the server of the API answers what it has begun, then ends by the very signal
        assert code in (0, -signal.SIGTERM), output
        assert "Traceback" not in output
