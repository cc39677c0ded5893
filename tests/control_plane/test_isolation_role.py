"""The role belongs to the server: made by whoever migrates first and may, else by an administrator. Backups come back with the wall."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from contracts.database import SCHEMA_REVISION
from control_plane import migration
from control_plane.errors import MigrationFailed
from stratum.local.postgres import SUPERUSER, binary
from tests.control_plane.commands import run
from tests.control_plane.installation import Installation, create_database
from tests.control_plane.servers import Postgres, Server


class Bare(Postgres):
    """A server whose administrator has made nothing for us."""

    def start(self, seconds: float = 60) -> None:
        Server.start(self, seconds)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bare]:
    with Bare(tmp_path_factory.mktemp("bare")).running() as running:
        assert isinstance(running, Bare)
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def administrator(server: Bare) -> AsyncIterator[asyncpg.Connection]:
    """A superuser's connection to a server that has no such role."""
    connection = await asyncpg.connect(server.service.url, user=SUPERUSER, password=server.service.superuser_password, database="postgres")
    for row in await connection.fetch("SELECT datname FROM pg_database WHERE datname LIKE 'stratum\\_%'"):
        await connection.execute(f"DROP DATABASE {row['datname']}")
    await connection.execute("DROP ROLE IF EXISTS stratum_tenant")
    await connection.execute("ALTER ROLE stratum NOCREATEROLE NOSUPERUSER")
    yield connection
    await connection.close()


async def _databases(server: Bare, administrator: asyncpg.Connection, number: int) -> list[str]:
    names = [f"stratum_{each}" for each in range(number)]
    for name in names:
        await administrator.execute(f"CREATE DATABASE {name} OWNER stratum")
    return [f"{server.service.url.rsplit('/', 1)[0]}/{name}" for name in names]


async def _usable(url: str) -> bool:
    """Whether a migrated database lets its owner become the role."""
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            await connection.execute("SET LOCAL ROLE stratum_tenant")
            return await connection.fetchval("SELECT count(*) FROM processes") == 0
    finally:
        await connection.close()


async def test_who_may_not_make_it_is_told_what_an_administrator_runs(server: Bare, administrator: asyncpg.Connection) -> None:
    (url,) = await _databases(server, administrator, 1)
    with pytest.raises(MigrationFailed) as refused:
        await migration.migrate(url)
    said = str(refused.value)
    assert "stratum may not create roles: let an administrator" in said
    for statement in said.split("`")[1].split("; "):
        await administrator.execute(statement)
    assert await migration.migrate(url) == SCHEMA_REVISION
    assert await _usable(url)


async def test_a_role_that_is_there_must_be_granted(server: Bare, administrator: asyncpg.Connection) -> None:
    (url,) = await _databases(server, administrator, 1)
    await administrator.execute("CREATE ROLE stratum_tenant NOLOGIN")
    with pytest.raises(MigrationFailed) as refused:
        await migration.migrate(url)
    said = str(refused.value)
    assert "may not become the role" in said
    await administrator.execute(said.split("`")[1])
    await migration.migrate(url)
    assert await _usable(url)


async def test_a_role_that_passes_policies_is_refused(server: Bare, administrator: asyncpg.Connection) -> None:
    (url,) = await _databases(server, administrator, 1)
    await administrator.execute("CREATE ROLE stratum_tenant BYPASSRLS; GRANT stratum_tenant TO stratum")
    with pytest.raises(MigrationFailed) as refused:
        await migration.migrate(url)
    await administrator.execute(str(refused.value).split("`")[1])
    await migration.migrate(url)
    assert await _usable(url)


@pytest.mark.parametrize("right", ["CREATEROLE", "SUPERUSER"])
async def test_several_databases_of_one_server_migrate_at_once(
    right: str, server: Bare, administrator: asyncpg.Connection, still: Installation
) -> None:
    await administrator.execute(f"ALTER ROLE stratum {right}")
    urls = await _databases(server, administrator, 4)
    ends = await asyncio.gather(*(run(still, "migrate", STRATUM_DATABASE_URL=url) for url in urls))
    assert [code for code, _ in ends] == [0] * 4, ends
    assert all([await _usable(url) for url in urls])


def _run(program: str, *arguments: str) -> str:
    done = subprocess.run([str(binary(program)), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def test_a_backup_comes_back_with_the_wall(server: Bare, administrator: asyncpg.Connection, tmp_path: Path) -> None:
    await administrator.execute("CREATE ROLE stratum_tenant NOLOGIN; GRANT stratum_tenant TO stratum")
    url = await create_database(server.service.url)
    connection = await asyncpg.connect(url)
    await connection.execute(
        "INSERT INTO tenants (id, bucket, prefix) VALUES ('acme', 'b', 'a/'), ('bolt', 'b', 'c/');"
        "INSERT INTO stored (tenant, bytes) VALUES ('acme', 1), ('bolt', 2)"
    )
    await connection.close()
    dump = str(tmp_path / "dump")
    await asyncio.to_thread(_run, "pg_dump", "--format=custom", f"--file={dump}", url)
    (restored,) = await _databases(server, administrator, 1)
    await asyncio.to_thread(_run, "pg_restore", "--exit-on-error", "--no-owner", f"--dbname={restored}", dump)
    connection = await asyncpg.connect(restored)
    try:
        assert await connection.fetchval("SELECT sum(bytes) FROM stored") == 3
        async with connection.transaction():
            await connection.execute("SELECT set_config('stratum.tenant', 'acme', true), set_config('role', 'stratum_tenant', true)")
            assert [row["tenant"] for row in await connection.fetch("SELECT tenant FROM stored")] == ["acme"]
    finally:
        await connection.close()
    assert await migration.migrate(restored) == SCHEMA_REVISION
