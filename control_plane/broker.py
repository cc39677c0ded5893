"""The edge to Kafka: plain producer and consumer, their blocking calls in threads."""

import asyncio
from dataclasses import dataclass
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from contracts.consumer_group import Membership, abandon
from contracts.topics import MAX_MESSAGE_BYTES, Topics
from control_plane.errors import ControlPlaneError
from control_plane.settings import KafkaSettings, TopicSettings

log = structlog.get_logger()

# librdkafka prints connection troubles to stderr; what matters of them comes back from the calls themselves
_QUIET: dict[str, Any] = {"log_level": 2}


class BrokerUnavailable(ControlPlaneError):
    """Kafka does not answer."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to publish. `tag` comes back when it is delivered."""

    tag: int
    topic: str
    key: str | bytes | None
    value: bytes | None
    headers: dict[str, str]


class Publisher:
    """Publishes batches: `acks=all`, idempotent, each delivery bounded in time."""

    def __init__(self, settings: KafkaSettings, client_id: str, delivery_seconds: float = 10) -> None:
        self._config: dict[str, Any] = {
            "bootstrap.servers": settings.kafka_bootstrap,
            "client.id": client_id,
            "acks": "all",
            "enable.idempotence": True,
            "delivery.timeout.ms": int(delivery_seconds * 1000),
            "request.timeout.ms": int(delivery_seconds * 500),
            "linger.ms": 2,
            "message.max.bytes": MAX_MESSAGE_BYTES,
            **settings.kafka_client_config,
            **_QUIET,
        }
        self._seconds = delivery_seconds
        self._producer: Producer | None = None

    async def publish(self, batch: list[Outgoing]) -> list[int]:
        """Publish a batch and return the tags of those that were delivered; the others may be sent again."""
        return await asyncio.to_thread(self._publish, batch)

    def _publish(self, batch: list[Outgoing]) -> list[int]:
        producer = self._producer or Producer(self._config)
        self._producer = producer
        delivered: list[int] = []

        def report(tag: int) -> Any:
            def on_delivery(error: KafkaError | None, _: Message) -> None:
                if error is None:
                    delivered.append(tag)
                else:
                    log.warning("not delivered", error=error.str())

            return on_delivery

        try:
            for message in batch:
                headers: list[tuple[str, str | bytes | None]] = list(message.headers.items())
                try:
                    producer.produce(message.topic, value=message.value, key=message.key, headers=headers, on_delivery=report(message.tag))
                except KafkaException as error:
                    if error.args[0].code() != KafkaError.MSG_SIZE_TOO_LARGE:
                        raise
                    # acceptance makes none; if there is one all the same, those behind it do not wait for it
                    log.exception("a message is larger than its topic takes", topic=message.topic, bytes=len(message.value or b""))
                producer.poll(0)
            left = producer.flush(self._seconds + 5)
        except (KafkaException, BufferError) as error:
            # a fatal error of an idempotent producer is cured by a new producer alone
            self._producer = None
            log.warning("the producer failed and is made anew", error=str(error))
            return delivered
        if left:
            self._producer = None
        return delivered


class Subscriber:
    """Reads one topic in a group; offsets are committed by the reader, after the effect."""

    def __init__(self, settings: KafkaSettings, topic: str, group: str) -> None:
        self._topic = topic
        self._kafka: dict[str, Any] = {"bootstrap.servers": settings.kafka_bootstrap, **settings.kafka_client_config, **_QUIET}
        self._group = f"{settings.topic_prefix}.{group}"
        self._membership = Membership(self._kafka, self._group)
        self._consumer = self._joining()
        self._held: list[Message] = []
        self._came = False

    def _joining(self) -> Consumer:
        consumer = Consumer(
            {
                **self._kafka,
                "group.id": self._group,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "session.timeout.ms": 10_000,
                "partition.assignment.strategy": "cooperative-sticky",
            }
        )
        consumer.subscribe([self._topic], on_assign=self._welcome)
        return consumer

    @property
    def partitions(self) -> list[int]:
        """The partitions that are ours now."""
        return sorted(partition.partition for partition in self._consumer.assignment())

    async def batch(self, most: int, seconds: float) -> list[Message]:
        """The next messages, at most `most`, waiting at most `seconds` for the first."""
        if self._came:
            self._consumer.resume(self._consumer.assignment())
            self._came = False
        messages, self._held = self._held, []
        messages += await asyncio.to_thread(self._consumer.consume, most, 0 if messages else seconds)
        good = []
        for message in messages:
            error = message.error()
            if error is None:
                good.append(message)
            else:
                log.warning("consumer", error=error.str())
        if not messages and await asyncio.to_thread(self._membership.is_lost, self._consumer):
            self._join_again()
        return good

    def _join_again(self) -> None:
        log.warning("the consumer group has lost this reader; it joins anew", group=self._group)
        abandon(self._consumer)
        self._consumer = self._joining()

    def _welcome(self, _consumer: Consumer, _partitions: list[TopicPartition]) -> None:
        """Partitions come, perhaps again: one that was paused when it went is paused still, as the client remembers it."""
        self._came = True

    async def keep_alive(self, seconds: float) -> None:
        """Wait without losing the partitions: they are paused, and the group's leader still hears of us."""
        assigned = self._consumer.assignment()
        self._consumer.pause(assigned)
        try:
            message = await asyncio.to_thread(self._consumer.poll, seconds)
            if message is not None:  # of a partition that came over meanwhile, and so was not paused
                self._held.append(message)
        finally:
            still = self._consumer.assignment()
            self._consumer.resume([partition for partition in assigned if partition in still])

    async def commit(self, messages: list[Message]) -> None:
        """Commit the offsets behind these messages."""
        behind: dict[tuple[str, int], int] = {}
        for message in messages:
            place = (message.topic() or "", message.partition() or 0)
            behind[place] = max(behind.get(place, 0), (message.offset() or 0) + 1)
        offsets = [TopicPartition(topic, partition, offset) for (topic, partition), offset in behind.items()]
        try:
            await asyncio.to_thread(self._consumer.commit, offsets=offsets, asynchronous=False)
        except KafkaException as error:
            # they are read again, and change nothing the second time
            log.warning("offsets not committed", error=str(error))

    async def close(self) -> None:
        """Leave the group."""
        await asyncio.to_thread(self._consumer.close)


def check_broker(settings: KafkaSettings, seconds: float = 10) -> None:
    """Ask Kafka for its metadata. Raises `BrokerUnavailable`."""
    try:
        _admin(settings).list_topics(timeout=seconds)
    except KafkaException as error:
        raise _silent(settings, error) from error


def create_topics(settings: TopicSettings, topics: Topics) -> list[str]:
    """Create the topics that are missing; returns their names. Raises `BrokerUnavailable`."""
    admin = _admin(settings)
    # nothing that waits may ever be removed by age while its process is open
    config = {"retention.ms": str(settings.topic_retention_hours * 3_600_000), "max.message.bytes": str(MAX_MESSAGE_BYTES)}
    if settings.topic_min_insync_replicas is not None:
        config["min.insync.replicas"] = str(settings.topic_min_insync_replicas)
    try:
        existing = admin.list_topics(timeout=10).topics
        missing = [
            NewTopic(
                name,
                num_partitions=1 if name.endswith(".dlq") else settings.topic_partitions,
                replication_factor=settings.topic_replication,
                config=config,
            )
            for name in topics.all
            if name not in existing
        ]
        for name, future in (admin.create_topics(missing) if missing else {}).items():
            try:
                future.result(timeout=15)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise BrokerUnavailable(f"topic {name} cannot be created: {error}") from error
    except KafkaException as error:
        raise _silent(settings, error) from error
    return [topic.topic for topic in missing]


def _admin(settings: KafkaSettings) -> AdminClient:
    return AdminClient({"bootstrap.servers": settings.kafka_bootstrap, **settings.kafka_client_config, **_QUIET})


def _silent(settings: KafkaSettings, error: KafkaException) -> BrokerUnavailable:
    return BrokerUnavailable(f"Kafka at {settings.kafka_bootstrap} does not answer: {error}")
