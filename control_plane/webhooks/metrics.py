"""Prometheus metrics of deliveries."""

from prometheus_client import Counter, Gauge

from control_plane.database import Connection, queries

ATTEMPTS = Counter("stratum_webhook_attempts_total", "Attempts to deliver, by what followed: delivered, again, givenup.", ["outcome"])
WAITING = Gauge("stratum_webhooks_waiting", "Deliveries that are not delivered and not given up.")
OLDEST = Gauge("stratum_webhooks_oldest_seconds", "Age of the oldest of them.")


async def refresh(connection: Connection) -> None:
    """Read the gauges from the database."""
    backlog = await queries.webhook_backlog(connection)
    WAITING.set(backlog["waiting"])
    OLDEST.set(backlog["seconds"])
