"""The database schema: migrations are run explicitly, and a service refuses a schema that it does not know."""

from functools import partial
from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from control_plane.errors import MigrationFailed, UnknownSchema

# advisory lock: two `migrate` at once are one after the other
_MIGRATION_LOCK = 0x5354524154554D


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def known_revision() -> str:
    """The revision that this code is written for."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    if head is None:
        raise UnknownSchema("this installation holds no migrations")
    return head


async def migrate(database_url: str) -> str:
    """Bring the database to `known_revision` and return it."""
    # asyncpg reads the URL itself, as the services do: SQLAlchemy would not know `sslmode` and its like
    engine = create_async_engine("postgresql+asyncpg://", async_creator=partial(asyncpg.connect, database_url), poolclass=NullPool)

    def upgrade(connection: Connection) -> None:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")

    try:
        async with engine.begin() as connection:
            await connection.run_sync(upgrade)
    except (OSError, SQLAlchemyError, asyncpg.PostgresError) as error:
        raise MigrationFailed(f"the migration failed and changed nothing: {str(error).splitlines()[0]}") from error
    finally:
        await engine.dispose()
    return known_revision()


async def check(connection: asyncpg.Connection | asyncpg.pool.PoolConnectionProxy) -> None:
    """Raise `UnknownSchema` unless the database is at `known_revision`."""
    try:
        found = await connection.fetchval("SELECT version_num FROM alembic_version")
    except asyncpg.UndefinedTableError:
        found = None
    if found != known_revision():
        raise UnknownSchema(
            f"the database is at schema {found or 'none'}, this version needs {known_revision()}: "
            "run `python -m control_plane migrate` with the version that you are deploying"
        )
