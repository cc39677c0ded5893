"""From database rows to the bodies of the API."""

from typing import Any

import asyncpg

from contracts.http import Metrics, Process, QueuePlace


def process(row: asyncpg.Record) -> Process:
    """A row of `process_view`."""
    fields: dict[str, Any] = dict(row)
    return Process.model_validate({**fields, "queue": _queue(row), "metrics": row["metrics"] or Metrics()})


def _queue(row: asyncpg.Record) -> QueuePlace | None:
    if row["place"] is None:
        return None
    return QueuePlace(place=row["place"], cause=_cause(row))


def _cause(row: asyncpg.Record) -> str:
    if not row["due"]:
        return f"waits before its next attempt, until {row['not_before'].isoformat(timespec='seconds')}"
    if not row["within_in_flight"]:
        return f"quota max_in_flight: {row['tenant_in_flight']} of {row['max_in_flight']} processes of the tenant are in flight"
    if not row["within_cores"]:
        used = f"{row['running_cores']} of {row['max_executor_cores']} executor cores of the tenant are in flight"
        return f"quota max_executor_cores: {used}, this process takes {row['cores']}"
    if row["place"] > 1:
        return f"waits for room; {row['place'] - 1} before it by priority, fair share and age"
    return "next to be released, as soon as there is room"
