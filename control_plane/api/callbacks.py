"""`/v1/processes/callback`: what runs report. The token says which attempt; only the granted run is heard."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import structlog
from fastapi import APIRouter

from contracts.callback import Callback, Grant
from contracts.errors import TokenError
from contracts.states import AttemptState
from contracts.tokens import Claims
from control_plane import lifecycle, metrics
from control_plane.api.auth import RunToken
from control_plane.api.problems import documented
from control_plane.api.routes import Route
from control_plane.api.services import Injected, Services
from control_plane.database import Connection, queries
from control_plane.errors import AttemptEnded, Invalid, Malformed, Refusal, RunSuperseded, TooLarge, Unauthenticated, Unavailable
from control_plane.lifecycle import Current
from control_plane.turns import Room, Turns

router = APIRouter(prefix="/v1/processes", tags=["runs"], route_class=Route)
log = structlog.get_logger()
ROOM = Room(
    of_one=16,
    of_all=1000,
    refusal="Reports of this attempt are worked on already; nothing was done. Send it again.",
)
"""Reports that are worked on or wait, of an attempt and of all. A run sends one at a time; several runs may ask for one attempt."""
ROOM_OF_HEARTBEATS = 2
"""Of those of an attempt: a heartbeat that is refused is followed by another, so that the reports that count find room."""
MOST_REFUSALS, MOST_OF_REASON = 100, 20
"""How many refused callbacks of one attempt are kept, and of these with one reason: who holds a token can send them without end."""


@router.post(
    "/callback",
    operation_id="callback",
    responses=documented(Unauthenticated, Invalid, RunSuperseded, AttemptEnded, Unavailable, Malformed, TooLarge),
)
async def callback(body: Callback, services: Injected, token: RunToken) -> Grant:
    """A run reports. 409: another run has the attempt; 410: the attempt is over. Either way the run must stop without writing."""
    claims, refusal = _verified(services, body, token)
    structlog.contextvars.bind_contextvars(process_id=str(claims.process_id), step=claims.step, attempt=claims.attempt)
    attempt = f"{claims.process_id}/{claims.step}/{claims.attempt}"
    room = ROOM_OF_HEARTBEATS if body.type == "heartbeat" else None
    async with services.reports.turn(attempt, room_of_one=room):
        try:
            if refusal is not None:
                raise refusal
            return await _reported(services, claims, body)
        except (RunSuperseded, AttemptEnded, Unauthenticated, Invalid) as error:
            await _audit(services, claims, body, error)
            raise


def turns(connections: int) -> Turns:
    """For reports, before they take one of so many connections: those of an attempt wait for one row's lock, and others need the pool."""
    return Turns(max(1, connections // 2), 1, ROOM)


def _verified(services: Services, body: Callback, token: str) -> tuple[Claims, Unauthenticated | None]:
    """Which attempt a token of ours is about, and why it is not the one for this report."""
    audience: Any = "stratum:start" if body.type == "started" else "stratum:run"
    try:
        return services.keys.verify(token, audience, now=None), None
    except TokenError as error:
        needed = "flow token of the command" if body.type == "started" else "run token that `started` was answered with"
        other: Any = "stratum:run" if body.type == "started" else "stratum:start"
        refusal = Unauthenticated(f"{str(error).capitalize()}; `{body.type}` needs the {needed}.")
        return services.keys.verify(token, other, now=None), refusal


async def _reported(services: Services, claims: Claims, body: Callback) -> Grant:
    async with services.database.tenant(claims.tenant) as connection:
        # before the row is locked: tokens that were thrown away must not hold up the process
        _check_expiry(claims, await queries.database_time(connection))
        current = await lifecycle.lock(connection, claims.process_id, claims.tenant)
        _check_bound(current, claims, body)
        assert current is not None  # noqa: S101 - checked just above
        await _apply(connection, services, current, body)
        # what the report changed is the answer
        after = await lifecycle.read(connection, claims.process_id)
        if not after.is_about(claims):
            # a failure made the next attempt, which is not this run's: no token of it may be handed out
            after = replace(current, attempt_state=AttemptState.FAILED)
        return _grant(services, after, body.run_id)


def _check_expiry(claims: Claims, now: datetime) -> None:
    """Judged on database time."""
    if claims.exp <= now:
        raise Unauthenticated(f"The token expired at {claims.exp.isoformat()}.")


def _check_bound(current: Current | None, claims: Claims, body: Callback) -> None:
    """Whether the token still speaks for the attempt."""
    if current is None or not current.is_about(claims):
        raise AttemptEnded("There is a later attempt; this one is over.")
    _check_expiry(claims, current.now)  # again: the lock may have been waited for
    if claims.run_id not in (None, body.run_id):
        raise Unauthenticated("The token belongs to another run.")
    if current.run_id not in (None, body.run_id):
        raise RunSuperseded("Another run was granted this attempt; stop without writing.")
    if current.attempt_state.is_final and not _already_reported(current, body):
        raise AttemptEnded(f"The attempt is {current.attempt_state}; stop without writing.")


def _already_reported(current: Current, body: Callback) -> bool:
    """A repeated last report, whose answer was lost on the way."""
    ending = {"finished": AttemptState.SUCCEEDED, "failed": AttemptState.FAILED}.get(body.type)
    return current.attempt_state is ending and current.run_id == body.run_id


async def _apply(connection: Connection, services: Services, current: Current, body: Callback) -> None:
    timing = services.settings
    if current.attempt_state.is_final:
        return
    if body.type == "started":
        if current.attempt_state in (AttemptState.STARTED, AttemptState.SEALING):
            return  # the same run asks again: its first answer was lost
        if current.start_before is not None and current.start_before < current.now:
            raise AttemptEnded("The run starts too late: its `start_before` is over.")
        if not await lifecycle.started(connection, current, body.run_id, body.sequence, timing.lease_seconds):
            raise AttemptEnded(f"The attempt is {current.attempt_state}; it cannot start.")
    elif current.attempt_state is AttemptState.STARTED:
        if body.type == "heartbeat":
            progress = body.progress.model_dump(mode="json", exclude_none=True) if body.progress else None
            await lifecycle.heard(connection, current, body.run_id, body.sequence, progress, timing.lease_seconds)
        elif body.type == "finished" and body.proposal is not None:
            expected = current.outputs[0].proposal_key(body.run_id)
            if body.proposal.key != expected:
                wrong = {"pointer": "/proposal/key", "detail": f"must be {expected}"}
                raise Invalid("The proposal lies outside of the run's own folder.", errors=[wrong])
            await lifecycle.sealing(connection, current, body.proposal.sha256, body.sequence, witness="callback")
        elif body.type == "failed" and body.error is not None:
            error = body.error
            ending = lifecycle.Ending(AttemptState.FAILED, error.class_, error.message, error.retryable)
            await lifecycle.ended(connection, current, ending, timing.retry_delay_seconds)
    elif current.attempt_state is not AttemptState.SEALING:
        raise Invalid("The run reports before it reported `started`.")


def _grant(services: Services, current: Current, run_id: str) -> Grant:
    # as long as the attempt itself may go on: a run whose heartbeats do not come through is not to be refused for that
    life = timedelta(seconds=services.settings.run_token_seconds)
    expires_at = max(current.now, current.deadline or current.now) + life
    return Grant(
        run_token=services.keys.sign("stratum:run", current.ref, expires_at, run_id),
        expires_at=expires_at,
        heartbeat_seconds=services.settings.heartbeat_seconds,
        storage_root=current.root.uri,
        state=current.attempt_state.value,
    )


async def _audit(services: Services, claims: Claims, body: Callback, refusal: Refusal) -> None:
    log.warning("callback refused", type=body.type, run_id=body.run_id, reason=refusal.detail)
    async with services.database.tenant(claims.tenant) as connection:
        kept = await queries.refuse_callback(
            connection,
            most=MOST_REFUSALS,
            most_of_reason=MOST_OF_REASON,
            tenant=claims.tenant,
            process_id=claims.process_id,
            step=claims.step,
            attempt=claims.attempt,
            run_id=body.run_id,
            type=body.type,
            reason=refusal.detail,
        )
    metrics.REFUSED_CALLBACKS.labels(refusal.type, "no" if kept is None else "yes").inc()
