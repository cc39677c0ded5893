"""What the launcher saw, and what follows from it. Each change is one transaction; every message is safe to read twice."""

from datetime import datetime, timedelta

import asyncpg
import structlog

from contracts.command import AttemptRef
from contracts.event import CommandRefused, JobEnded, JobPending, JobSubmitted, LauncherEvent, Relist
from contracts.states import AttemptState, ProcessState
from control_plane import lifecycle, unheard
from control_plane.database import Connection, Database, queries
from control_plane.errors import EventRefused, StorageRefused, StorageUnavailable
from control_plane.lifecycle import Current, Ending
from control_plane.settings import TimingSettings
from control_plane.unheard import Asked, ProposalLookup
from control_plane.zombies import end_zombies

log = structlog.get_logger()

_AHEAD_SECONDS = 5
"""So far ahead of the database's clock may a list be: the server that gave it its time may have been another one."""

# outcome of a job -> error class
_OUTCOMES: dict[str, str] = {
    "completed": "NO_REPORT",
    "failed": "DRIVER_FAILED",
    "killed": "DRIVER_KILLED",
    "vanished": "DRIVER_VANISHED",
    "evicted": "EVICTED",
    "out_of_memory": "OUT_OF_MEMORY",
    "time_limit": "TIME_LIMIT",
    "image_unavailable": "IMAGE_UNAVAILABLE",
    "absent": "JOB_ABSENT",
}
# outcomes of jobs that did not fail by themselves
_TAKEN_AWAY = frozenset({"killed", "vanished", "evicted", "absent"})


async def apply(database: Database, timing: TimingSettings, has_proposal: ProposalLookup, event: LauncherEvent) -> None:
    """Take one event into account.

    Raises:
        EventRefused: it cannot be true, and nothing of it was used.
        StorageUnavailable: what became of the run cannot be told yet. Take the event again; else a later list of jobs decides.
    """
    if isinstance(event, Relist):
        await _relist(database, timing, has_proposal, event)
        return
    if isinstance(event, JobEnded):
        await _job_ended(database, timing, has_proposal, event)
        return
    async with database.transaction() as connection:
        current = await lifecycle.lock(connection, event.process_id, event.tenant)
        if current is None:
            log.warning("event of an unknown process", process_id=str(event.process_id))
        elif not current.is_about(event):
            log.info("event of an earlier attempt", process_id=str(event.process_id), attempt=event.attempt, type=event.type)
        elif isinstance(event, JobSubmitted):
            profile = event.resource_profile.model_dump(mode="json", exclude_none=True)
            await lifecycle.submitted(connection, current, event.job_name, event.cluster, profile, timing.lease_seconds)
        elif isinstance(event, JobPending):
            await _pending(connection, timing, current, event)
        elif isinstance(event, CommandRefused) and current.run_id is not None:
            log.warning("a command was refused whose run goes on", process_id=str(event.process_id), reason=event.message)
        elif isinstance(event, CommandRefused):
            ending = Ending(AttemptState.FAILED, event.error_class, event.message, retryable=True)
            await lifecycle.ended(connection, current, ending, timing.retry_delay_seconds)


async def _pending(connection: Connection, timing: TimingSettings, current: Current, event: JobPending) -> None:
    """A job that waits exists: the observer's news may come before the launcher's, and is told only once."""
    if current.attempt_state in (AttemptState.RELEASED, AttemptState.PUBLISHED):
        await lifecycle.submitted(connection, current, event.job_name, event.cluster, None, timing.lease_seconds)
    await lifecycle.pending(connection, current, event.cause, queued=event.queued)


async def _job_ended(database: Database, timing: TimingSettings, has_proposal: ProposalLookup, event: JobEnded) -> None:
    while True:
        try:
            asked = await unheard.ask(database, has_proposal, event)
        except StorageUnavailable:
            await _wait_for_store(database, event, event)
            raise
        async with database.transaction() as connection:
            current = await lifecycle.lock(connection, event.process_id, event.tenant)
            if current is None:
                log.warning("event of an unknown process", process_id=str(event.process_id))
                return
            if not current.is_about(event):
                return
            if asked.is_about(current):
                await _ended(connection, timing, current, event, asked)
                return


async def _ended(connection: Connection, timing: TimingSettings, current: Current, event: JobEnded, asked: Asked) -> None:
    if current.process_state is ProcessState.CANCELLING:
        await lifecycle.job_gone(connection, current)
    elif await unheard.finished(connection, current, asked):
        return
    elif current.attempt_state is not AttemptState.SEALING and not current.attempt_state.is_final:
        state = AttemptState.LOST if event.outcome in _TAKEN_AWAY else AttemptState.FAILED
        message = event.message or f"the job ended ({event.outcome})"
        await lifecycle.ended(connection, current, Ending(state, _OUTCOMES[event.outcome], message, True), timing.retry_delay_seconds)


async def _wait_for_store(database: Database, ref: AttemptRef, ended: JobEnded | None = None) -> None:
    """Say that the run's end is known and its outcome is not; and keep where its job was, so that a later list concerns it."""
    async with database.transaction() as connection:
        current = await lifecycle.lock(connection, ref.process_id, ref.tenant)
        if current is None or not current.is_about(ref) or current.attempt_state is not AttemptState.STARTED:
            return
        if ended is not None:
            await queries.note_job(connection, **current.key, job_name=ended.job_name, cluster=ended.cluster, resource_profile=None)
        await lifecycle.note(connection, current, "waiting", "its job has ended; whether it left a result waits for the object store")


async def _relist(database: Database, timing: TimingSettings, has_proposal: ProposalLookup, relist: Relist) -> None:
    """Lost needs both: the lease is over, and a complete list that was begun after that does not have the job."""
    live = {_key(ref) for ref in relist.live}
    async with database.connection() as connection:
        facts = {"cluster": relist.cluster, "began_at": relist.began_at, "unseen": list(relist.unseen)}
        began_at = await queries.observe(connection, **facts, ahead_seconds=_AHEAD_SECONDS)
        if began_at is None:
            raise EventRefused(f"a list of jobs that was begun at {relist.began_at.isoformat()}, later than now")
        relist = relist.model_copy(update={"began_at": began_at})
        found = queries.attempts_of_cluster(connection, cluster=relist.cluster, began_at=relist.began_at, unseen=list(relist.unseen))
        rows = [row async for row in found]
    silent: set[str] = set()
    for row in rows:
        is_live = _key(_ref(row)) in live
        if is_live and not _has_stalled(row["silent_since"], timing, relist):
            await _present(database, relist, row)
        elif row["tenant"] not in silent:
            try:
                await (_stalled if is_live else _gone)(database, timing, has_proposal, relist, row)
            except StorageUnavailable as error:
                log.warning("what became of a run waits for the object store", process_id=str(row["process_id"]), error=str(error))
                if not isinstance(error, StorageRefused):  # each question may take as long again
                    silent.add(row["tenant"])
    await end_zombies(database, relist)


def _still_concerns(relist: Relist, current: Current, seen: asyncpg.Record) -> bool:
    """Whether the attempt is, now that it is locked, what it was when it was chosen: a report may have come in between."""
    if (current.step, current.attempt, current.attempt_state) != (seen["step"], seen["attempt"], seen["state"]):
        return False
    return current.attempt_state.is_final or (current.lease_until is not None and current.lease_until < relist.began_at)


async def _gone(database: Database, timing: TimingSettings, has_proposal: ProposalLookup, relist: Relist, row: asyncpg.Record) -> None:
    ref = _ref(row)
    try:
        asked = await unheard.ask(database, has_proposal, ref)
    except StorageUnavailable:
        await _wait_for_store(database, ref)
        raise
    async with database.transaction() as connection:
        current = await lifecycle.lock(connection, ref.process_id)
        if current is None or not _still_concerns(relist, current, row) or not asked.is_about(current):
            return
        if current.process_state is ProcessState.CANCELLING:
            await lifecycle.job_gone(connection, current)
        elif not await unheard.finished(connection, current, asked):
            reason = "its job is gone and nothing was heard of it"
            await lifecycle.ended(connection, current, Ending(AttemptState.LOST, "JOB_LOST", reason, True), timing.retry_delay_seconds)


async def _present(database: Database, relist: Relist, row: asyncpg.Record) -> None:
    """A live job whose run reports nothing: noticed by one relist, ended by a later one if it is silent still."""
    async with database.transaction() as connection:
        current = await lifecycle.lock(connection, row["process_id"])
        if current is None or not _still_concerns(relist, current, row) or current.attempt_state is not AttemptState.STARTED:
            return
        if current.silent_since is None:
            await queries.note_silence(connection, **current.key)
            await lifecycle.note(connection, current, "silent", "its job runs, but it sends no heartbeats")


def _has_stalled(silent_since: datetime | None, timing: TimingSettings, relist: Relist) -> bool:
    return silent_since is not None and silent_since + timedelta(seconds=timing.lease_seconds) < relist.began_at


async def _stalled(database: Database, timing: TimingSettings, has_proposal: ProposalLookup, relist: Relist, row: asyncpg.Record) -> None:
    asked = await unheard.ask(database, has_proposal, _ref(row))
    async with database.transaction() as connection:
        current = await lifecycle.lock(connection, row["process_id"])
        if current is None or not _still_concerns(relist, current, row) or not asked.is_about(current):
            return
        if _has_stalled(current.silent_since, timing, relist) and not await unheard.finished(connection, current, asked):
            await lifecycle.kill_job(connection, current)
            reason = "its job runs, but has stalled: it sends no heartbeats"
            await lifecycle.ended(connection, current, Ending(AttemptState.LOST, "STALLED", reason, True), timing.retry_delay_seconds)


def _ref(row: asyncpg.Record) -> AttemptRef:
    return AttemptRef(tenant=row["tenant"], process_id=row["process_id"], step=row["step"], attempt=row["attempt"])


def _key(ref: AttemptRef) -> tuple[object, int, int]:
    return (ref.process_id, ref.step, ref.attempt)
