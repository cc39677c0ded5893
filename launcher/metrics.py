"""Prometheus metrics of the launcher."""

from prometheus_client import Counter, Gauge

MESSAGES = Counter("stratum_launcher_messages_total", "Messages handled, by topic and what became of them.", ["topic", "result"])
EVENTS = Counter("stratum_launcher_events_total", "Events that Kafka acknowledged, by type.", ["type"])
PAUSED = Gauge("stratum_launcher_paused", "1 while a topic is paused because something it needs pushes back.", ["topic"])
JOBS = Gauge("stratum_launcher_jobs", "Jobs of the last relist, by state.", ["state"])
RELIST_AT = Gauge("stratum_launcher_relist_timestamp_seconds", "When the last relist was published; its age shows a blind observer.")
UNSEEN = Gauge("stratum_launcher_unseen_tenants", "Tenants whose jobs the last relist could not list. Must be 0.")
LOG_BYTES = Counter("stratum_launcher_log_bytes_total", "Bytes of driver output that were shipped.")
CONFLICTS = Counter("stratum_launcher_conflicts_total", "Commands whose job exists already, made from another command. Must stay 0.")
