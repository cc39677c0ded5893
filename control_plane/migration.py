"""Migrations of the database, run by a command of their own and by no service."""

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

from contracts.database import SCHEMA_REVISION
from control_plane.errors import MigrationFailed

# advisory lock: two `migrate` at once are one after the other
_MIGRATION_LOCK = 0x5354524154554D


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def head() -> str | None:
    """The revision that the last of the migrations leads to."""
    return ScriptDirectory.from_config(_config()).get_current_head()


async def migrate(database_url: str) -> str:
    """Bring the database to `SCHEMA_REVISION` and return it."""
    # asyncpg reads the URL itself, as the services do: SQLAlchemy would not know `sslmode` and its like
    engine = create_async_engine("postgresql+asyncpg://", async_creator=partial(asyncpg.connect, database_url), poolclass=NullPool)

    def upgrade(connection: Connection) -> None:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, SCHEMA_REVISION)

    try:
        async with engine.begin() as connection:
            await connection.run_sync(upgrade)
    except (OSError, SQLAlchemyError, asyncpg.PostgresError) as error:
        raise MigrationFailed(f"the migration failed and changed nothing: {str(error).splitlines()[0]}") from error
    finally:
        await engine.dispose()
    return SCHEMA_REVISION
