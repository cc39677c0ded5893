"""`/v1/processes`: requests, their history and their end."""

import asyncio
import hashlib
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request, Response

from contracts.http import EventPage, LogChunk, Process, ProcessEvent, ProcessPage, ProcessRequest
from contracts.identifiers import Identifier
from contracts.layout import StorageRoot
from contracts.states import ProcessState
from control_plane import acceptance, lifecycle, logs, views
from control_plane.api import cursor as cursors
from control_plane.api.auth import Reader, Writer
from control_plane.api.problems import documented
from control_plane.api.routes import Route
from control_plane.api.services import Injected
from control_plane.database import Connection, queries
from control_plane.errors import (
    Conflict,
    Forbidden,
    ImageNotAllowed,
    Invalid,
    Malformed,
    NameTaken,
    NotFound,
    RateLimited,
    Retired,
    StorageUsedUp,
    TooLarge,
    TooManyHeld,
    Unauthenticated,
    Unavailable,
)
from control_plane.missing import with_suggestions
from control_plane.webhooks import callbacks

router = APIRouter(prefix="/v1/processes", tags=["processes"], route_class=Route)
COUNTED = 1000
"""An answer to a POST tells the place in the queue while no more wait than this; a GET of one process always does."""
SORTED = 10_000
"""A list tells places while no more wait than this: it takes the database a tenth of a second to put so many in order."""
_COMMON = (Unauthenticated, Invalid, Unavailable, RateLimited)
_LINKS = {
    "links": {
        "self": {"operationId": "get_process", "parameters": {"process_id": "$response.body#/id"}},
        "events": {"operationId": "list_events", "parameters": {"process_id": "$response.body#/id"}},
        "cancel": {"operationId": "cancel_process", "parameters": {"process_id": "$response.body#/id"}},
    }
}


@router.post(
    "",
    operation_id="create_process",
    status_code=202,
    response_model=Process,
    responses={
        202: {"description": "Accepted.", "headers": {"Location": {"schema": {"type": "string"}}}, **_LINKS},
        200: {"model": Process, "description": "The same work is done, or being done, by this process.", **_LINKS},
        **documented(*_COMMON, Forbidden, ImageNotAllowed, NotFound, NameTaken, Retired, Malformed, TooLarge, StorageUsedUp, TooManyHeld),
    },
)
async def create(
    request: Request,
    body: ProcessRequest,
    services: Injected,
    caller: Writer,
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=200, description="Makes a repeated POST safe.")] = None,
    traceparent: Annotated[str | None, Header(max_length=100)] = None,
) -> Response:
    """Run an action on a data version. The same work again answers 200 with the process that already does it."""
    callbacks.check(services.settings.target_rules, body.callback_url)
    body_sha256 = hashlib.sha256(await request.body()).hexdigest()
    if idempotency_key is not None:
        # what was answered stays the answer, even if the catalog has changed since
        async with services.database.tenant(caller.tenant) as connection:
            earlier = await _earlier_answer(connection, caller.tenant, idempotency_key, body_sha256)
        if earlier is not None:
            return earlier
    judged = await services.judge.judge(services.catalog.current, services.settings, caller.tenant, body)
    async with with_suggestions(services.database, caller.tenant), services.database.tenant(caller.tenant) as connection:
        if idempotency_key is not None:
            # the key is held from here to the end; another request may have used it while this one was judged
            earlier = await _earlier_answer(connection, caller.tenant, idempotency_key, body_sha256)
            if earlier is not None:
                return earlier
        process_id, is_new = await acceptance.accept(connection, caller.tenant, judged, traceparent)
        status = 202 if is_new else 200
        document = await _read(connection, caller.tenant, process_id, counted=COUNTED)
        if idempotency_key is not None:
            await queries.put_idempotency_key(
                connection,
                tenant=caller.tenant,
                key=idempotency_key,
                body_sha256=body_sha256,
                status=status,
                response=document.model_dump_json(),
            )
    return _accepted(status, document)


@router.get("", operation_id="list_processes", responses=documented(*_COMMON))
async def list_processes(
    services: Injected,
    caller: Reader,
    state: ProcessState | None = None,
    entity_id: Identifier | None = None,
    action: Identifier | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: str | None = None,
) -> ProcessPage:
    """The tenant's processes, newest first."""
    async with services.database.tenant(caller.tenant) as connection:
        rows = [
            row
            async for row in queries.list_processes(
                connection,
                tenant=caller.tenant,
                state=state.value if state else None,
                entity_id=entity_id,
                action=action,
                before=cursors.decode_id(cursor),
                limit=limit + 1,
                counted=SORTED,
            )
        ]
    items = [views.process(row) for row in rows[:limit]]
    return ProcessPage(items=items, next_cursor=cursors.encode(str(items[-1].id)) if len(rows) > limit else None)


@router.get("/{process_id}", operation_id="get_process", responses=documented(*_COMMON, NotFound))
async def get(process_id: UUID, services: Injected, caller: Reader) -> Process:
    """One process: state, reason, place in the queue, attempts, metrics and what it made."""
    async with services.database.tenant(caller.tenant) as connection:
        return await _read(connection, caller.tenant, process_id)


@router.get("/{process_id}/events", operation_id="list_events", responses=documented(*_COMMON, NotFound))
async def events(
    process_id: UUID,
    services: Injected,
    caller: Reader,
    limit: Annotated[int, Query(ge=1, le=1000)] = 1000,
    cursor: str | None = None,
) -> EventPage:
    """The history, oldest first."""
    after = cursors.decode_number(cursor)
    async with services.database.tenant(caller.tenant) as connection:
        found = queries.list_events(connection, tenant=caller.tenant, process_id=process_id, after=after, limit=limit + 1)
        rows = [row async for row in found]
        if not rows and await queries.get_process(connection, tenant=caller.tenant, id=process_id, counted=0) is None:
            raise _not_found(process_id)
    items = [ProcessEvent.model_validate(dict(row)) for row in rows[:limit]]
    return EventPage(items=items, next_cursor=cursors.encode(str(items[-1].sequence)) if len(rows) > limit else None)


@router.get("/{process_id}/logs", operation_id="read_logs", responses=documented(*_COMMON, NotFound))
async def read_logs(
    process_id: UUID, services: Injected, caller: Reader, offset: Annotated[int, Query(ge=0, description="Bytes.")] = 0
) -> LogChunk:
    """Driver output of all attempts, in order, from `offset` on."""
    async with services.database.tenant(caller.tenant) as connection:
        found = queries.log_sources(connection, tenant=caller.tenant, process_id=process_id, patience=logs.PATIENCE_SECONDS)
        rows = [row async for row in found]
    if not rows:
        raise _not_found(process_id)
    sources = [
        logs.LogSource(
            row["bucket"],
            StorageRoot(row["bucket"], row["prefix"]).log_prefix(row["process_id"], row["step"], row["attempt"]),
            row["given_up"],
        )
        for row in rows
    ]
    return await asyncio.to_thread(logs.read, services.storage, sources, offset, ended=rows[-1]["ended"])


@router.post(
    "/{process_id}/cancel",
    operation_id="cancel_process",
    response_model=Process,
    status_code=202,
    responses=documented(*_COMMON, Forbidden, NotFound, Conflict),
)
async def cancel(process_id: UUID, services: Injected, caller: Writer) -> Process:
    """Cancel. Safe to repeat; 409 once the process is sealing or has ended otherwise."""
    async with services.database.tenant(caller.tenant) as connection:
        current = await lifecycle.lock(connection, process_id, caller.tenant)
        if current is None:
            raise _not_found(process_id)
        stopping = (ProcessState.CANCELLING, ProcessState.CANCELLED)
        if current.process_state not in stopping and not await lifecycle.cancel(connection, current):
            raise Conflict(f"The process is {current.process_state}: it can no longer be cancelled.")
        return await _read(connection, caller.tenant, process_id)


@router.post(
    "/{process_id}/retry",
    operation_id="retry_process",
    status_code=202,
    response_model=Process,
    responses={
        202: {"description": "A new process for the same request.", **_LINKS},
        200: {"model": Process, "description": "It was sent again before, or its work is done or being done: by this process.", **_LINKS},
        **documented(*_COMMON, Forbidden, ImageNotAllowed, NotFound, Conflict, Retired, StorageUsedUp, TooManyHeld),
    },
)
async def retry(process_id: UUID, services: Injected, caller: Writer) -> Response:
    """Send a failed or cancelled request again, as a new process with `retry_of`."""
    async with services.database.tenant(caller.tenant) as connection:
        row = await queries.retry_source(connection, tenant=caller.tenant, id=process_id)
    if row is None:
        raise _not_found(process_id)
    fields = dict(row)
    # both are ends: nothing becomes of the process while its request is judged
    state = ProcessState(fields.pop("state"))
    if state not in (ProcessState.FAILED, ProcessState.CANCELLED):
        hint = "its result is sealed" if state is ProcessState.SUCCEEDED else "cancel it first, or wait for its end"
        raise Conflict(f"The process is {state}; only failed and cancelled ones can be sent again: {hint}.")
    request = ProcessRequest.model_validate(fields)
    callbacks.check(services.settings.target_rules, request.callback_url)
    judged = await services.judge.judge(services.catalog.current, services.settings, caller.tenant, request)
    async with with_suggestions(services.database, caller.tenant), services.database.tenant(caller.tenant) as connection:
        new, is_new = await acceptance.accept(connection, caller.tenant, judged, None, retry_of=process_id)
        document = await _read(connection, caller.tenant, new, counted=COUNTED)
    return _accepted(202 if is_new else 200, document)


async def _earlier_answer(connection: Connection, tenant: str, key: str, body_sha256: str) -> Response | None:
    """The answer that was given under the key, which is held to the end of the transaction."""
    if not await queries.lock_idempotency_key(connection, tenant=tenant, key=key):
        raise Conflict("A request with this Idempotency-Key is being worked on right now; send it again in a moment.", retry_after=1)
    earlier = await queries.find_idempotency_key(connection, tenant=tenant, key=key)
    if earlier is None:
        return None
    if earlier["body_sha256"] != body_sha256:
        raise Invalid(
            "This Idempotency-Key was used with another body; choose a new key.",
            errors=[{"pointer": "/header/idempotency-key", "detail": "used with another body"}],
        )
    return _accepted(earlier["status"], Process.model_validate_json(earlier["response"]))


def _accepted(status: int, document: Process) -> Response:
    headers = {"Location": f"/v1/processes/{document.id}"}
    return Response(document.model_dump_json(), status, headers, media_type="application/json")


async def _read(connection: Connection, tenant: str, process_id: UUID, counted: int | None = None) -> Process:
    row = await queries.get_process(connection, tenant=tenant, id=process_id, counted=counted)
    if row is None:
        raise _not_found(process_id)
    return views.process(row)


def _not_found(process_id: UUID) -> NotFound:
    return NotFound(f"There is no process {process_id}; GET /v1/processes lists yours.")
