"""Rows of the database that have served their time."""

from dataclasses import dataclass
from typing import Any

from control_plane.database import queries
from control_plane.sweeper.sweeper import Sweeper
from control_plane.sweeper.tally import NOT_ASKED, Kind, Size, Tally

_PIECE = 5_000


@dataclass(frozen=True, slots=True)
class _Rows:
    """One kind: the setting with its life, and its two queries. `audit`: rows that nothing but retention may remove."""

    kind: Kind
    setting: str
    old: Any
    remove: Any
    audit: bool = False
    piece: int = _PIECE


_KINDS = (
    _Rows(Kind.IDEMPOTENCY_KEY, "idempotency_key_seconds", queries.old_idempotency_keys, queries.remove_idempotency_keys),
    _Rows(Kind.OUTBOX, "outbox_seconds", queries.old_messages, queries.remove_messages),
    _Rows(Kind.DELIVERY, "webhook_delivery_seconds", queries.old_deliveries, queries.remove_deliveries),
    _Rows(Kind.EVENT, "event_seconds", queries.old_events, queries.remove_events, audit=True, piece=200),
    _Rows(Kind.REFUSED_CALLBACK, "refused_callback_seconds", queries.old_refused_callbacks, queries.remove_refused_callbacks, audit=True),
    _Rows(Kind.RECORD, "sweep_record_seconds", queries.old_sweeps, queries.remove_sweeps),
    _Rows(Kind.MARK, "sweep_record_seconds", queries.old_marks, queries.remove_marks),
)


async def sweep_rows(sweeper: Sweeper, tally: Tally) -> None:
    """Remove, or count, the rows of every kind that are older than their life. A kind without a life is kept for ever."""
    for rows in _KINDS:
        seconds = getattr(sweeper.settings, rows.setting)
        if seconds is None:
            continue
        if tally.remove:
            await _remove(sweeper, tally, rows, seconds)
        else:
            async with sweeper.database.connection() as connection:
                old = await rows.old(connection, seconds=seconds)
            if old["number"]:
                tally.found(rows.kind, Size(bytes=old["bytes"]), old["number"])
                tally.kept(rows.kind, NOT_ASKED, old["number"])


async def _remove(sweeper: Sweeper, tally: Tally, rows: _Rows, seconds: float) -> None:
    while True:
        sweeper.turns.beat()
        async with sweeper.database.transaction() as connection:
            if rows.audit:
                await queries.open_retention(connection, seconds=seconds)
            gone = await rows.remove(connection, seconds=seconds, limit=rows.piece)
        if not gone["number"]:
            return
        size = Size(bytes=gone["bytes"])
        tally.found(rows.kind, size, gone["number"])
        tally.removed(rows.kind, size, number=gone["number"])
