"""Sends to and reads from a broker, as the control plane does."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from contracts.event import LauncherEvent, launcher_event
from contracts.identifiers import new_id
from contracts.topics import Topics


@dataclass
class KafkaProbe:
    bootstrap: str
    topics: Topics
    producer: Producer
    consumer: Consumer
    messages: list[Message] = field(default_factory=list)

    @classmethod
    @contextmanager
    def open(cls, bootstrap: str, topics: Topics) -> "Iterator[KafkaProbe]":
        consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": new_id().hex, "auto.offset.reset": "earliest"})
        read = (topics.events, topics.dlq(topics.commands), topics.dlq(topics.cancels))
        consumer.assign([TopicPartition(topic, partition, 0) for topic in read for partition in range(2)])
        try:
            yield cls(bootstrap, topics, Producer({"bootstrap.servers": bootstrap, "message.max.bytes": 2_000_000}), consumer)
        finally:
            consumer.close()

    @property
    def client(self) -> dict[str, str]:
        """What a Kafka client is told."""
        return {"bootstrap.servers": self.bootstrap}

    def send(self, topic: str, *values: bytes, key: bytes | None = b"key") -> None:
        for value in values:
            self.producer.produce(topic, value, key)
        assert self.producer.flush(20) == 0

    def events(self) -> list[LauncherEvent]:
        self._read()
        return [launcher_event.validate_json(m.value() or b"") for m in self.messages if m.topic() == self.topics.events]

    def dead_letters(self, topic: str) -> list[Message]:
        self._read()
        return [message for message in self.messages if message.topic() == self.topics.dlq(topic)]

    def until_events(self, enough: Callable[[list[LauncherEvent]], bool], timeout: float = 30) -> list[LauncherEvent]:
        deadline = time.monotonic() + timeout
        while not enough(events := self.events()):
            assert time.monotonic() < deadline, f"only these events came: {events}"
        return events

    def until_dead_letters(self, topic: str, count: int, timeout: float = 30) -> list[Message]:
        deadline = time.monotonic() + timeout
        while len(letters := self.dead_letters(topic)) < count:
            assert time.monotonic() < deadline, f"only {len(letters)} dead letters came"
        return letters

    def committed(self, group: str, topic: str) -> int:
        """How many messages of `topic` the group has committed."""
        asked = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, partition) for partition in range(2)])
        admin = AdminClient({"bootstrap.servers": self.bootstrap})  # kept until the answer is there: it is lost with its client
        found = admin.list_consumer_group_offsets([asked])[group].result()
        return sum(max(each.offset, 0) for each in found.topic_partitions)

    def _read(self) -> None:
        for message in self.consumer.consume(100, timeout=0.2):
            assert message.error() is None, message.error()
            self.messages.append(message)


def headers_of(message: Message) -> dict[str, str]:
    return {name: value.decode() for name, value in message.headers() or []}
