"""What a retention policy would retire. Only a report: it prints the commands, and a person decides."""

import shlex
from datetime import timedelta
from typing import Any

from control_plane.database import Database, queries
from control_plane.settings import DatabaseSettings


async def candidates(
    settings: DatabaseSettings, tenant: str | None, keep_last: int | None, older_than: timedelta | None
) -> list[dict[str, Any]]:
    """Datasets that are not among the `keep_last` newest of their name in their entity, and are older than `older_than`."""
    database = Database(settings)
    try:
        async with database.connection() as connection:
            seconds = older_than.total_seconds() if older_than is not None else None
            rows = queries.retention_candidates(connection, tenant=tenant, keep_last=keep_last, older_seconds=seconds)
            return [dict(row) async for row in rows]
    finally:
        await database.close()


def command(row: dict[str, Any], reason: str) -> str:
    """The command that retires one of them; it needs the credential of an admin of its tenant."""
    return shlex.join(["stratum", "retire", row["entity_id"], row["data_version"], row["dataset"], "--reason", reason])
