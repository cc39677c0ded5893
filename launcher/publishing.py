"""Sends to Kafka and waits until it is stored."""

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from contracts.event import LauncherEvent, Relist
from contracts.topics import MAX_MESSAGE_BYTES
from launcher import metrics
from launcher.errors import LauncherError, PublishFailed

DELIVERY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message to be sent."""

    topic: str
    key: bytes | None
    value: bytes
    headers: Mapping[str, bytes] = field(default_factory=dict)


def event_message(topic: str, event: LauncherEvent) -> Outgoing:
    """An event, keyed by its process so that events of one process stay in order; a relist by its cluster."""
    key = event.cluster if isinstance(event, Relist) else str(event.process_id)
    return Outgoing(topic, key.encode(), event.model_dump_json().encode())


class Publisher:
    """An idempotent producer that reports only what is on all replicas. For any thread.

    `kafka`: what every Kafka client of the installation is told.
    """

    def __init__(self, kafka: Mapping[str, str], events_topic: str) -> None:
        self._events_topic = events_topic
        self._producer = Producer(
            {
                **kafka,
                "enable.idempotence": True,
                "acks": "all",
                "linger.ms": 0,
                "delivery.timeout.ms": int(DELIVERY_SECONDS * 1000),
                "compression.type": "lz4",
                "message.max.bytes": MAX_MESSAGE_BYTES,
                "allow.auto.create.topics": False,
            },
            logger=logging.getLogger("kafka"),
        )

    def publish_events(self, events: Sequence[LauncherEvent]) -> None:
        """Send events; see `publish`."""
        self.publish(event_message(self._events_topic, event) for event in events)
        for event in events:
            metrics.EVENTS.labels(event.type).inc()

    def publish(self, messages: Iterable[Outgoing]) -> None:
        """Send all and return when each was acknowledged.

        Raises:
            PublishFailed: at least one was not; send all of them again.
            LauncherError: this producer will take nothing any more.
        """
        batch = _Batch()
        for message in messages:
            self._produce(message, batch)
        while batch.is_open:
            self._producer.poll(0.1)
        if batch.error is not None:
            raise _failure(batch.error)

    def _produce(self, message: Outgoing, batch: "_Batch") -> None:
        deadline = time.monotonic() + DELIVERY_SECONDS
        while True:
            try:
                self._producer.produce(message.topic, message.value, message.key, on_delivery=batch.report, headers=dict(message.headers))
            except BufferError as error:
                if time.monotonic() > deadline:
                    raise PublishFailed("Kafka takes no events: its queue is full") from error
                self._producer.poll(0.1)
            except KafkaException as error:
                raise _failure(error.args[0]) from error
            else:
                batch.sent += 1
                return


def _failure(error: KafkaError) -> LauncherError:
    if error.fatal():
        return LauncherError(f"the producer cannot go on: {error.str()}")
    return PublishFailed(f"Kafka did not take an event: {error.str()}")


class _Batch:
    """Delivery reports of one call. They may come while another thread polls, so each report is one append."""

    def __init__(self) -> None:
        self.sent = 0
        self._reports: list[KafkaError | None] = []

    @property
    def is_open(self) -> bool:
        return len(self._reports) < self.sent

    @property
    def error(self) -> KafkaError | None:
        return next((report for report in self._reports if report is not None), None)

    def report(self, error: KafkaError | None, _message: Message) -> None:
        self._reports.append(error)
