"""Several readers of one topic: nothing is lost and nothing is passed over, whoever comes, goes, or has to wait."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from confluent_kafka import Consumer
from prometheus_client import REGISTRY

from contracts.event import LauncherEvent
from launcher.consuming import MessageLoop, Subscription
from launcher.errors import BackendUnavailable
from launcher.publishing import Publisher
from tests.launcher.kafka_probe import KafkaProbe
from tests.launcher.samples import eventually


class Reader:
    def __init__(self, kafka: KafkaProbe) -> None:
        self.kafka = kafka
        self.seen: list[bytes] = []
        self.backend_is_away = threading.Event()

    @property
    def group(self) -> str:
        return f"{self.kafka.topics.prefix}.readers"

    @contextmanager
    def running(self, loop_type: type[MessageLoop] = MessageLoop) -> "Iterator[Reader]":
        stop = threading.Event()
        topics = self.kafka.topics
        subscription = Subscription(self.kafka.client, topics, topics.commands, self.group)
        loop = loop_type(subscription, self._handle, Publisher(self.kafka.client, topics.events))
        thread = threading.Thread(target=loop.run, args=(stop,))
        thread.start()
        try:
            yield self
        finally:
            stop.set()
            thread.join()

    def _handle(self, value: bytes, read_at: float) -> Sequence[LauncherEvent]:
        if self.backend_is_away.is_set():
            raise BackendUnavailable("the backend is away")
        if value == b"trip":
            raise RuntimeError("a bug")
        self.seen.append(value)
        return []


class Forgotten(MessageLoop):
    """Its first consumer is none of the group's, and waits for ever: it has no partitions and no error."""

    was_forgotten = False

    def _consumer(self) -> Consumer:
        consumer = super()._consumer()
        if not self.was_forgotten:
            consumer.unsubscribe()
            self.was_forgotten = True
        return consumer


def send(kafka: KafkaProbe, first: int, last: int) -> list[bytes]:
    values = [f"{number:04d}".encode() for number in range(first, last)]
    for value in values:
        kafka.send(kafka.topics.commands, value, key=value)
    return values


def test_readers_come_and_go(kafka: KafkaProbe) -> None:
    one, two = Reader(kafka), Reader(kafka)
    with one.running():
        sent = send(kafka, 0, 20)
        eventually(lambda: len(one.seen) == 20, "the first to read all", timeout=30)
        with two.running():
            number = 20

            def both_read() -> bool:
                nonlocal number
                sent.extend(send(kafka, number, number + 10))
                number += 10
                return bool(two.seen)

            eventually(both_read, "the second to be given its part", timeout=60)
            two.backend_is_away.set()  # it leaves while it holds what it could not do
            sent.extend(send(kafka, number, number + 20))
        eventually(lambda: set(one.seen) | set(two.seen) == set(sent), "every message to be done", timeout=60)
    assert kafka.committed(one.group, kafka.topics.commands) == len(sent)


@pytest.mark.parametrize("partition", [0, 1])
def test_partitions_that_stay_or_come_back_are_read_when_what_was_held_goes(kafka: KafkaProbe, partition: int) -> None:
    """One of the two partitions goes to the second reader: for one of the cases, that of the message that is held."""
    one, two = Reader(kafka), Reader(kafka)
    topic, sent = kafka.topics.commands, [b"held"]

    def send_to_both() -> None:
        for each in (0, 1):
            sent.append(f"{len(sent):04d}".encode())
            kafka.producer.produce(topic, sent[-1], partition=each)
        assert kafka.producer.flush(20) == 0

    def second_reads() -> bool:
        send_to_both()
        return bool(two.seen)

    with one.running():
        one.backend_is_away.set()
        kafka.producer.produce(topic, b"held", partition=partition)
        eventually(lambda: REGISTRY.get_sample_value("stratum_launcher_paused", {"topic": topic}), "the message to be held", timeout=30)
        with two.running():
            eventually(second_reads, "the second to be given its part", timeout=60)
            one.backend_is_away.clear()
            send_to_both()
            eventually(lambda: set(one.seen) | set(two.seen) == set(sent), "every message to be done", timeout=40)
        # Kafka's client remembers that a partition was paused when it went
        send_to_both()
        eventually(lambda: set(one.seen) | set(two.seen) == set(sent), "what comes back to be read", timeout=40)
    assert kafka.committed(one.group, topic) == len(sent)


def test_message_that_trips_the_launcher_stops_nobody(kafka: KafkaProbe) -> None:
    reader = Reader(kafka)
    with reader.running():
        kafka.send(kafka.topics.commands, b"before", b"trip", b"behind")
        eventually(lambda: reader.seen == [b"before", b"behind"], "the message behind", timeout=30)
        letter = kafka.until_dead_letters(kafka.topics.commands, 1)[0]
    assert letter.value() == b"trip"
    assert kafka.committed(reader.group, kafka.topics.commands) == 3


def test_told_to_end_it_finishes_the_message_in_hand_and_leaves_those_behind_it(kafka: KafkaProbe) -> None:
    """A batch may hold a hundred messages; submitting them all would take longer than the time until it is killed."""
    stop, at_work, go_on = threading.Event(), threading.Event(), threading.Event()
    first, second = Reader(kafka), Reader(kafka)
    topics = kafka.topics

    def handle(value: bytes, read_at: float) -> Sequence[LauncherEvent]:
        at_work.set()
        assert go_on.wait(60)
        first.seen.append(value)
        return []

    sent = send(kafka, 0, 40)
    loop = MessageLoop(Subscription(kafka.client, topics, topics.commands, first.group), handle, Publisher(kafka.client, topics.events))
    thread = threading.Thread(target=loop.run, args=(stop,))
    thread.start()
    assert at_work.wait(60)
    stop.set()
    go_on.set()
    thread.join(30)
    assert not thread.is_alive()
    assert (len(first.seen), kafka.committed(first.group, topics.commands)) == (1, 1)
    with second.running():
        eventually(lambda: len(second.seen) == 39, "the others", timeout=30)
    assert sorted(first.seen + second.seen) == sorted(sent), "none lost, none twice"


def test_a_reader_that_its_group_has_forgotten_joins_again(kafka: KafkaProbe) -> None:
    values = send(kafka, 0, 3)
    reader = Reader(kafka)
    with reader.running(Forgotten):
        eventually(lambda: sorted(reader.seen) == values, "every message", 60)
