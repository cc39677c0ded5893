"""Sweeps: a small one of what is known to be over, again and again, and now and then a full one that lists the store."""

from datetime import datetime
from typing import Literal
from uuid import UUID

import structlog

from contracts.identifiers import new_id
from contracts.layout import StorageRoot
from control_plane import metrics
from control_plane.database import queries
from control_plane.sweeper.ended import expire_uploads, sweep_runs, sweep_uploads
from control_plane.sweeper.isolation import apart
from control_plane.sweeper.jobs import sweep_jobs
from control_plane.sweeper.listed import sweep_folders
from control_plane.sweeper.logs import sweep_logs
from control_plane.sweeper.multipart import sweep_multipart
from control_plane.sweeper.retired import sweep_retired
from control_plane.sweeper.rows import sweep_rows
from control_plane.sweeper.sweeper import Sweeper
from control_plane.sweeper.tally import Kind, Tally

log = structlog.get_logger()
_LISTINGS = ((Kind.UNKNOWN_FOLDER, sweep_folders), (Kind.MULTIPART, sweep_multipart), (Kind.LOG, sweep_logs))


async def turn(sweeper: Sweeper) -> bool:
    """What the reconciler does again and again; returns whether there is more to do at once.

    Raises:
        StorageUnavailable: of one tenant; what could be looked at was.
        Unavailable: the next turn goes on where this one stopped.
    """
    sweeper.turns.begin()
    tally, began_at = Tally(remove=True), await sweeper.now()
    try:
        await _ended(sweeper, tally)
    finally:
        if tally.anything_removed:
            await _record(sweeper, new_id(), "ended", "reconcile", began_at, tally, None)
    full_id = new_id()
    async with sweeper.database.transaction() as connection:
        due = await queries.begin_full_sweep(connection, id=full_id, seconds=sweeper.settings.sweep_listing_seconds)
    if due is not None:
        await _full(sweeper, Tally(remove=True), full_id, "reconcile", began_at)
    tally.check_reached()
    return False


async def leftovers(sweeper: Sweeper, *, remove: bool) -> Tally:
    """Everything at once, for an operator who asks. Without `remove` nothing is changed, and nothing recorded."""
    tally, began_at = Tally(remove=remove), await sweeper.now()
    if not remove:
        await _by_age(sweeper, tally)
        await _listed(sweeper, tally)  # finds the folders of ended runs and uploads, too
        return tally
    await _ended(sweeper, tally)
    await _full(sweeper, tally, new_id(), "command", began_at)
    return tally


async def _ended(sweeper: Sweeper, tally: Tally) -> None:
    await expire_uploads(sweeper, tally)
    await sweep_runs(sweeper, tally)
    await sweep_uploads(sweeper, tally)
    await _by_age(sweeper, tally)


async def _by_age(sweeper: Sweeper, tally: Tally) -> None:
    await sweep_retired(sweeper, tally)
    await sweep_rows(sweeper, tally)
    await sweep_jobs(sweeper, tally)


async def _full(sweeper: Sweeper, tally: Tally, sweep_id: UUID, started_by: Literal["reconcile", "command"], began_at: datetime) -> None:
    error: Exception | None = None
    try:
        await _listed(sweeper, tally)
    except Exception as problem:
        error = problem
        raise
    finally:
        await _record(sweeper, sweep_id, "full", started_by, began_at, tally, str(error) if error else None)
    metrics.leftovers(tally)


async def _listed(sweeper: Sweeper, tally: Tally) -> None:
    """Every tenant's root. A store that does not let us look at one, or a root that is none any more, keeps nobody from the others."""
    for row in await sweeper.tenants():
        tenant = row["tenant"]
        for kind, sweep in _LISTINGS:
            if tenant not in tally.unreachable:
                with sweeper.turns.of(tenant, kind), apart(tally, tenant, kind):
                    await sweep(sweeper, tally, tenant, StorageRoot(row["bucket"], row["prefix"]))
    tally.check_reached()


async def _record(
    sweeper: Sweeper,
    sweep_id: UUID,
    scope: Literal["ended", "full"],
    started_by: Literal["reconcile", "command"],
    began_at: datetime,
    tally: Tally,
    error: str | None,
) -> None:
    document = tally.document()
    log.info("swept", scope=scope, error=error, **document)
    metrics.swept(tally)
    async with sweeper.database.connection() as connection:
        await queries.record_sweep(
            connection, id=sweep_id, scope=scope, started_by=started_by, began_at=began_at, report=document, error=error
        )
