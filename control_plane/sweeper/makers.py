"""Whose folders these are."""

from collections.abc import Collection
from uuid import UUID

from control_plane.database import Connection, queries
from control_plane.sweeper.folders import Maker


async def makers_of(connection: Connection, tenant: str, run_ids: Collection[str]) -> dict[str, Maker]:
    """The attempts and uploads that are known, by the id of the run that was granted, or of the upload."""
    upload_ids = [upload_id for run_id in run_ids if (upload_id := as_upload_id(run_id))]
    rows = queries.folder_makers(connection, tenant=tenant, run_ids=sorted(run_ids), upload_ids=upload_ids)
    return {row["run_id"]: Maker(row["over_since"], row["is_upload"]) async for row in rows}


def as_upload_id(run_id: str) -> UUID | None:
    """The upload whose folder bears that name, if it is one; uploads and pods have UUIDs."""
    try:
        return UUID(run_id)
    except ValueError:
        return None
