"""`wait`: the first start of an installation, when everything starts at once."""

import pytest

from contracts.database import SCHEMA_REVISION
from control_plane import migration
from control_plane.errors import MigrationFailed
from tests.control_plane.commands import Command, run
from tests.control_plane.installation import Installation, create_database
from tests.services import Services


async def test_what_is_there_is_not_waited_for(still: Installation) -> None:
    code, output = await run(still, "wait", "database", "schema", "broker", "storage")
    assert (code, "there: database, schema, broker, storage" in output, "waiting" in output) == (0, True, False), output


@pytest.mark.parametrize(
    ("need", "change"),
    [
        ("database", {"STRATUM_DATABASE_URL": "postgresql://u:p@127.0.0.1:9/d"}),
        ("broker", {"STRATUM_KAFKA_BOOTSTRAP": "127.0.0.1:9"}),
        ("storage", {"STRATUM_S3_ENDPOINT": "http://127.0.0.1:9"}),
    ],
)
async def test_what_does_not_come_is_said(need: str, change: dict[str, str], still: Installation) -> None:
    code, output = await run(still, "wait", need, "--seconds", "0", **change)
    assert (code, "Traceback" in output) == (1, False), output
    assert f"the {need} was waited for 0 s in vain: " in output


async def test_the_schema_is_waited_for_until_it_is_this_versions(still: Installation, services: Services, template: str) -> None:
    async with still.sql() as sql:
        await sql.execute("UPDATE alembic_version SET version_num = '0000'")
    waiting = Command(still, "wait", "schema", "--seconds", "60")
    code, output = await run(still, "wait", "schema", "--seconds", "0")
    assert (code, "the database is at schema 0000" in output) == (1, True), output
    async with still.sql() as sql:
        await sql.execute("UPDATE alembic_version SET version_num = $1", SCHEMA_REVISION)
    code, output = await waiting.ended()
    assert (code, "there: schema" in output) == (0, True), output


async def test_the_migration_reads_the_url_as_the_services_do(services: Services) -> None:
    """`sslmode` and its like are asyncpg's. The test server has no TLS, so that asking for it must fail."""
    url = await create_database(services.database_url)
    assert await migration.migrate(f"{url}?sslmode=disable") == SCHEMA_REVISION
    with pytest.raises(MigrationFailed, match="SSL"):
        await migration.migrate(f"{url}?sslmode=require")
