"""Jobs that no row knows: full lists find them, and see them gone. In between the launcher is told to end them, after their grace."""

import asyncpg

from control_plane.database import queries
from control_plane.sweeper.sweeper import Sweeper
from control_plane.sweeper.tally import NOT_ASKED, Kind, Size, Tally


async def sweep_jobs(sweeper: Sweeper, tally: Tally) -> None:
    """Have every one of them ended, or say why it lives on. `removed` are those that the launcher is told of now."""
    grace = sweeper.settings.stray_job_seconds
    async with sweeper.database.connection() as connection:
        rows = [row async for row in queries.list_strays(connection, grace_seconds=grace)]
    for row in rows:
        sweeper.turns.beat()
        name = f"job {row['tenant']}/{row['process_id']}/{row['step']}/{row['attempt']} in cluster {row['cluster']}"
        tally.found(Kind.JOB, Size())
        why = _why_kept(row, grace) or (None if tally.remove else NOT_ASKED)
        if why is not None:
            tally.kept(Kind.JOB, why, name=name)
            continue
        async with sweeper.database.connection() as connection:
            if await queries.ask_stray_end(connection, id=row["id"]) is not None:
                tally.removed(Kind.JOB, Size(), name)


def _why_kept(row: asyncpg.Record, grace_seconds: float | None) -> str | None:
    if row["goes_on"]:
        return "its process goes on, and may yet come to that attempt"
    if row["is_told"]:
        return "it was told to end, and no full list shows it gone yet"
    if grace_seconds is None:
        return "policy only reports such jobs (STRATUM_STRAY_JOB_SECONDS)"
    return None if row["due"] else "the grace since it was first seen is not over"
