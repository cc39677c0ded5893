"""Prometheus metrics. Gauges of the database are read when they are asked for."""

from prometheus_client import Counter, Gauge, Histogram

from contracts.states import ProcessState
from control_plane.database import Connection, queries
from control_plane.sweeper.tally import Tally

REQUESTS = Histogram(
    "stratum_http_request_seconds",
    "Time to answer a request.",
    ["method", "route", "status"],
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
)
PROCESSES = Gauge("stratum_processes", "Processes of all tenants, by state.", ["state"])
OUTBOX = Gauge("stratum_outbox_messages", "Released messages not yet known to be delivered.")
OUTBOX_AGE = Gauge("stratum_outbox_oldest_seconds", "Age of the oldest of them.")
RELEASED = Counter("stratum_released_total", "Processes released by admission.")
PUBLISHED = Counter("stratum_published_total", "Messages delivered to Kafka.", ["kind"])
PUBLISH_ERRORS = Counter("stratum_publish_errors_total", "Messages that Kafka did not take in time.")
UNMAKABLE = Counter("stratum_unmakable_messages_total", "Released messages that could not be made; their attempts were ended.", ["kind"])
EVENTS = Counter("stratum_events_read_total", "Events read from the launcher.", ["type"])
EVENTS_REFUSED = Counter("stratum_events_refused_total", "Events that could not be used and went to the dead letters.")
SEALS = Counter("stratum_seals_total", "Seals by outcome.", ["outcome"])
DEFECTS = Counter("stratum_reconcile_defects_total", "Work that ended by an error nobody foresaw and is tried again, by kind.", ["work"])
REFUSED_CALLBACKS = Counter(
    "stratum_refused_callbacks_total",
    "Callbacks that were refused, by kind of refusal; `kept`: whether it is among those in the audit.",
    ["type", "kept"],
)
SWEPT = Counter("stratum_swept_objects_total", "Objects of unsealed runs and uploads that were removed.")
REMOVED = Counter("stratum_leftovers_removed_total", "Left-overs that were removed, by kind.", ["kind"])
REMOVED_BYTES = Counter("stratum_leftovers_removed_bytes_total", "Their bytes.", ["kind"])
STRAYS = Gauge("stratum_stray_jobs", "Jobs that the last full lists show alive and that no row knows.")
LEFT = Gauge("stratum_leftovers", "Left-overs that the last full sweep found and kept, by kind and reason.", ["kind", "why"])
FULL_SWEEP_AT = Gauge("stratum_full_sweep_timestamp_seconds", "When the last full sweep of this reconciler came to its end.")


async def refresh(connection: Connection) -> None:
    """Read the gauges from the database."""
    counted = {row["state"]: row["processes"] async for row in queries.count_by_state(connection)}
    for state in ProcessState:
        PROCESSES.labels(state.value).set(counted.get(state.value, 0))
    lag = await queries.outbox_lag(connection)
    OUTBOX.set(lag["waiting"])
    OUTBOX_AGE.set(lag["seconds"])
    STRAYS.set(await queries.count_strays(connection))


def swept(tally: Tally) -> None:
    """Count what a sweep removed."""
    for kind, count in tally.counts.items():
        REMOVED.labels(kind.value).inc(count.removed)
        REMOVED_BYTES.labels(kind.value).inc(count.removed_bytes)


def leftovers(tally: Tally) -> None:
    """Show what a full sweep left, and why."""
    LEFT.clear()
    for kind, count in tally.counts.items():
        for why, number in count.kept.items():
            LEFT.labels(kind.value, why).set(number)
    FULL_SWEEP_AT.set_to_current_time()
