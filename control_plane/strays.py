"""Jobs that live and whose attempt this database does not know: it was restored from an older copy, perhaps, and has forgotten them."""

import structlog

from contracts.event import Relist
from control_plane.database import Connection, queries

log = structlog.get_logger()


async def note_strays(connection: Connection, relist: Relist) -> None:
    """Remember those that a complete list shows. The sweeper has them ended by policy: see `sweeper/jobs.py`."""
    found = queries.note_strays(
        connection,
        cluster=relist.cluster,
        began_at=relist.began_at,
        unseen=list(relist.unseen),
        tenants=[ref.tenant for ref in relist.live],
        process_ids=[ref.process_id for ref in relist.live],
        steps=[ref.step for ref in relist.live],
        attempts=[ref.attempt for ref in relist.live],
    )
    async for row in found:
        if row["is_new"]:
            ref = {"process_id": str(row["process_id"]), "step": row["step"], "attempt": row["attempt"]}
            log.warning("a job lives whose attempt no row knows", cluster=relist.cluster, tenant=row["tenant"], **ref)
