"""The edge to Kafka."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio
from confluent_kafka import Producer

from contracts.consumer_group import PATIENCE
from control_plane.broker import Outgoing, Publisher, Subscriber, create_topics
from control_plane.settings import KafkaSettings, TopicSettings
from tests.control_plane.installation import Installation
from tests.control_plane.waiting import eventually

PARTITIONS = 4


@pytest.fixture
def settings(still: Installation) -> TopicSettings:
    settings = TopicSettings(kafka_bootstrap=still.kafka_bootstrap, topic_prefix=still.topic_prefix, topic_partitions=PARTITIONS)
    create_topics(settings, settings.topics)
    return settings


@pytest_asyncio.fixture(loop_scope="session")
async def subscribe(settings: KafkaSettings) -> AsyncIterator[Callable[[], Subscriber]]:
    made: list[Subscriber] = []

    def subscriber() -> Subscriber:
        made.append(Subscriber(settings, settings.topics.events, "test"))
        return made[-1]

    yield subscriber
    for one in made:
        await one.close()


def test_topics_are_made_once(settings: TopicSettings) -> None:
    assert create_topics(settings, settings.topics) == []


async def test_what_is_not_delivered_in_time_is_not_reported_as_delivered() -> None:
    publisher = Publisher(KafkaSettings(kafka_bootstrap="127.0.0.1:9"), "test", delivery_seconds=1)
    assert await publisher.publish([Outgoing(1, "t", "k", b"v", {})]) == []


async def test_delivered_messages_come_back_by_their_tags(settings: KafkaSettings, subscribe: Callable[[], Subscriber]) -> None:
    batch = [Outgoing(tag, settings.topics.events, str(tag), b"v", {"a": "b"}) for tag in range(20)]
    assert sorted(await Publisher(settings, "test").publish(batch)) == list(range(20))
    subscriber = subscribe()
    seen: list[str] = []

    async def look() -> bool:
        seen.extend((message.key() or b"").decode() for message in await subscriber.batch(100, 0.2))
        return len(seen) >= 20

    await eventually(look, what="the messages")
    assert sorted(seen, key=int) == [str(tag) for tag in range(20)]


async def test_waiting_loses_no_message_that_comes_with_new_partitions(
    settings: KafkaSettings, subscribe: Callable[[], Subscriber]
) -> None:
    """A second reader leaves while the first one waits for the database: its partitions, with what lies in them, come over."""
    one, two = subscribe(), subscribe()

    async def shared() -> bool:
        await asyncio.gather(one.batch(1, 0.05), two.batch(1, 0.05))
        return len(one.partitions) == len(two.partitions) == PARTITIONS // 2

    await eventually(shared, what="an even share")
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap})
    for number in range(PARTITIONS * 5):
        producer.produce(settings.topics.events, value=str(number), partition=number % PARTITIONS)
    producer.flush(10)
    await two.close()

    async def waited() -> bool:
        await one.keep_alive(1)
        return len(one.partitions) == PARTITIONS

    await eventually(waited, what="all partitions")
    for _ in range(3):
        await one.keep_alive(0.1)
    seen: list[int] = []

    async def look() -> bool:
        seen.extend(int(message.value() or b"") for message in await one.batch(100, 0.2))
        return len(seen) >= PARTITIONS * 5

    await eventually(look, what="every message")
    assert sorted(seen) == list(range(PARTITIONS * 5))


async def test_partitions_that_went_while_it_waited_are_read_when_they_come_back(
    settings: KafkaSettings, subscribe: Callable[[], Subscriber]
) -> None:
    """Kafka's client remembers that they were paused."""
    one = subscribe()

    async def has(number: int) -> bool:
        await one.keep_alive(0.2)
        return len(one.partitions) == number

    async def alone() -> bool:
        await one.batch(1, 0.05)
        return len(one.partitions) == PARTITIONS

    await eventually(alone, 30, "all partitions")
    two = subscribe()

    async def shared() -> bool:
        await asyncio.gather(one.keep_alive(0.2), two.batch(1, 0.2))
        return len(one.partitions) == len(two.partitions) == PARTITIONS // 2

    await eventually(shared, 30, "an even share")
    await two.close()
    await eventually(lambda: has(PARTITIONS), 30, "all partitions again")
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap})
    for number in range(PARTITIONS):
        producer.produce(settings.topics.events, value=str(number), partition=number)
    producer.flush(10)
    read: set[int] = set()

    async def all_read() -> bool:
        read.update(int(message.value() or b"") for message in await one.batch(100, 0.2))
        return read == set(range(PARTITIONS))

    await eventually(all_read, 20, "messages of each partition")


async def test_a_reader_that_its_group_has_forgotten_joins_again(settings: KafkaSettings, subscribe: Callable[[], Subscriber]) -> None:
    """Kafka's client may wait for ever for an answer to its joining, with no partitions and without a word."""
    one = subscribe()

    async def has_all() -> bool:
        await one.batch(1, 0.05)
        return len(one.partitions) == PARTITIONS

    await eventually(has_all, 30, "all partitions")
    one._consumer.unsubscribe()  # as good as forgotten: no member, no partitions, no error
    await eventually(has_all, 60, "all partitions again")


async def test_a_reader_that_has_nothing_to_do_stays(settings: KafkaSettings, subscribe: Callable[[], Subscriber]) -> None:
    """There may be more readers than partitions: that is no reason to join again, which would stir up all others."""
    readers = [subscribe() for _ in range(PARTITIONS + 1)]

    async def shared() -> bool:
        await asyncio.gather(*(reader.batch(1, 0.05) for reader in readers))
        return sorted(len(reader.partitions) for reader in readers) == [0, *[1] * PARTITIONS]

    await eventually(shared, 60, "a partition for all but one")
    (idle,) = [reader for reader in readers if not reader.partitions]
    consumer = idle._consumer
    for _ in range(3 * PATIENCE):
        await asyncio.gather(*(reader.batch(1, 0.05) for reader in readers))
    assert idle._consumer is consumer
