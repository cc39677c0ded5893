"""The database schema: a service refuses one that it does not know. Migrations are run by a command of their own."""

import asyncpg

from contracts.database import SCHEMA_REVISION
from control_plane.errors import UnknownSchema


async def check(connection: asyncpg.Connection | asyncpg.pool.PoolConnectionProxy) -> None:
    """Raise `UnknownSchema` unless the database is at `SCHEMA_REVISION`."""
    try:
        found = await connection.fetchval("SELECT version_num FROM alembic_version")
    except asyncpg.UndefinedTableError:
        found = None
    if found != SCHEMA_REVISION:
        raise UnknownSchema(
            f"the database is at schema {found or 'none'}, this version needs {SCHEMA_REVISION}: "
            "run `python -m control_plane migrate` with the version that you are deploying"
        )
