"""What waits too long: ended where it has a limit, else told. One attempt's trouble is never another's."""

from collections.abc import Awaitable, Callable, Iterable
from uuid import UUID

import asyncpg
import structlog

from contracts.catalog import Limits
from contracts.command import AttemptRef
from contracts.states import AttemptState
from control_plane import lifecycle, unheard
from control_plane.database import Connection, queries
from control_plane.errors import StorageRefused, StorageUnavailable, Unavailable
from control_plane.lifecycle import Current, Ending
from control_plane.reconciler import Reconciler
from control_plane.unheard import Asked

log = structlog.get_logger()
_GRACE_SECONDS = 60
"""A run that is over its time limit is left to its own end, and its cluster's, for so long."""
_NOT_STARTED = {
    AttemptState.RELEASED: "its command never left for Kafka",
    AttemptState.PUBLISHED: "its command lay in Kafka, and no launcher made a job of it",
}
_ON_ITS_WAY = {
    AttemptState.RELEASED: "its command waits to leave for Kafka: no relay works, or Kafka takes no messages",
    AttemptState.PUBLISHED: "its command lies in Kafka: no launcher has taken it up yet",
}


async def enforce_deadlines(reconciler: Reconciler) -> bool:
    """End attempts that are past a deadline; a run that left a proposal is sealed instead.

    Raises:
        StorageUnavailable: whether some run left one cannot be told yet. The others were ended.
    """
    async with reconciler.database.connection() as connection:
        default = Limits().pending_limit_seconds  # of work that was accepted before there was this limit
        found = queries.overdue_attempts(connection, grace_seconds=_GRACE_SECONDS, pending_limit_seconds=default)
        rows = [row async for row in found]
    proposals = _Proposals(reconciler)

    async def end(connection: Connection, current: Current, row: asyncpg.Record) -> None:
        if row["deadline"] == "pending" and current.pending_since != row["pending_since"]:
            return  # a queue has taken its job back meanwhile
        if row["deadline"] == "time" and await unheard.finished(connection, current, proposals.answers[current.id]):
            return
        await lifecycle.kill_job(connection, current)
        await lifecycle.ended(connection, current, _ending(current, row["deadline"]), reconciler.settings.retry_delay_seconds)

    await _each(reconciler, sorted(rows, key=lambda row: row["deadline"] == "time"), end, proposals.are_known)
    if proposals.trouble is not None:
        raise proposals.trouble
    return False


class _Proposals:
    """What overdue runs left, by what the store says. One that does not answer is asked once a turn: each question may take as long again.

    Attributes:
        answers: by process.
        trouble: why there is no answer for some.
    """

    def __init__(self, reconciler: Reconciler) -> None:
        self._reconciler = reconciler
        self._silent: set[str] = set()
        self.answers: dict[UUID, Asked] = {}
        self.trouble: StorageUnavailable | None = None

    async def are_known(self, row: asyncpg.Record) -> bool:
        """Ask after the run of the attempt, if it has one. False: its end waits for the answer."""
        if row["deadline"] != "time":
            return True
        if row["tenant"] in self._silent:
            return False
        self._reconciler.pulse.beat("deadlines")
        ref = AttemptRef(tenant=row["tenant"], process_id=row["process_id"], step=row["step"], attempt=row["attempt"])
        try:
            self.answers[ref.process_id] = await unheard.ask(self._reconciler.database, self._reconciler.has_proposal, ref)
        except StorageUnavailable as error:
            log.warning("the end of an overdue run waits for the object store", process_id=str(ref.process_id), error=str(error))
            self.trouble = error
            if not isinstance(error, StorageRefused):
                self._silent.add(ref.tenant)
            return False
        return True


def _ending(current: Current, deadline: str) -> Ending:
    limits = Limits.model_validate(current.limits)
    waits_for = current.attempt_reason
    if deadline == "time":
        reason = f"the run took longer than its time limit of {limits.time_limit_seconds} s"
        return Ending(AttemptState.FAILED, "TIME_LIMIT", reason, True)
    if deadline == "pending":
        reason = f"its job waited for its driver for more than {limits.pending_limit_seconds} s; at last: {waits_for}"
        return Ending(AttemptState.FAILED, "PENDING_LIMIT", reason, True)
    where = _NOT_STARTED.get(current.attempt_state, f"its job waited; at last: {waits_for}")
    return Ending(AttemptState.FAILED, "START_DEADLINE", f"the run did not start before its deadline: {where}", True)


async def tell_unwatched(reconciler: Reconciler) -> bool:
    """Let processes say that nobody can see their jobs. Nothing is lost while the observer is blind."""
    reason = "nothing is heard of the run and its cluster cannot be looked at; it goes on as soon as either can"
    lease = reconciler.settings.lease_seconds
    async with reconciler.database.connection() as connection:
        rows = [row async for row in queries.unwatched_attempts(connection, lease_seconds=lease, reason=reason)]

    async def tell(connection: Connection, current: Current, _: asyncpg.Record) -> None:
        if current.lease_until is not None and current.lease_until < current.now:
            await lifecycle.note(connection, current, "unwatched", reason)

    await _each(reconciler, rows, tell)
    return False


async def tell_on_the_way(reconciler: Reconciler) -> bool:
    """Let processes whose command is long on its way say where it lies. It is not lost: the next relay, or launcher, takes it up."""
    async with reconciler.database.connection() as connection:
        found = queries.long_on_the_way(
            connection,
            seconds=reconciler.settings.lease_seconds,
            released=_ON_ITS_WAY[AttemptState.RELEASED],
            published=_ON_ITS_WAY[AttemptState.PUBLISHED],
        )
        rows = [row async for row in found]

    async def tell(connection: Connection, current: Current, _: asyncpg.Record) -> None:
        await lifecycle.note(connection, current, "waiting", _ON_ITS_WAY[current.attempt_state])

    await _each(reconciler, rows, tell)
    return False


async def _at_once(_: asyncpg.Record) -> bool:
    return True


async def _each(
    reconciler: Reconciler,
    rows: Iterable[asyncpg.Record],
    act: Callable[[Connection, Current, asyncpg.Record], Awaitable[None]],
    ready: Callable[[asyncpg.Record], Awaitable[bool]] = _at_once,
) -> None:
    """Act on each attempt that is still in the state in which it was seen, in a transaction of its own.

    Args:
        ready: asked while nothing is locked; what is not is left out.

    Raises:
        Unavailable: the database is away; the others were not tried.
        ExceptionGroup: the defects that some brought to light, when the others are done.
    """
    defects = []
    for row in rows:
        try:
            if not await ready(row):
                continue
            async with reconciler.database.transaction() as connection:
                current = await lifecycle.lock(connection, row["process_id"])
                seen = (row["step"], row["attempt"], row["state"])
                if current is not None and (current.step, current.attempt, current.attempt_state) == seen:
                    await act(connection, current, row)
        except Unavailable:
            raise
        except Exception as error:
            error.add_note(f"process {row['process_id']}, attempt {row['attempt']}")
            defects.append(error)
    if defects:
        raise ExceptionGroup("attempts met defects", defects)
