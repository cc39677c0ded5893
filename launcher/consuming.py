"""Reads a topic: the effect first, the offset after; pauses, never stops polling, while something pushes back."""

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from threading import Event

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from contracts.consumer_group import Membership, abandon
from contracts.event import LauncherEvent
from contracts.pulse import Beat, unwatched
from contracts.topics import MOST_READ_BYTES, Topics, dead_letter
from launcher import metrics
from launcher.errors import LauncherError, MessageRejected, NotNow
from launcher.publishing import Outgoing, Publisher, event_message

log = structlog.get_logger()

BATCH = 100
_POLL_SECONDS = 0.2
_SESSION_SECONDS = 10
_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 15.0

Handler = Callable[[bytes, float], Sequence[LauncherEvent]]
"""Does what a message asks and gives the events to tell. Raises `MessageRejected` for a message nobody can act on, and
`NotNow` when it must be tried again. Doing it twice is the same as doing it once.

It is given the message, and a time of the monotonic clock by which it had been read: what was found out later knows all that its
sender knew."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """Which topic is read, and by which group. `kafka`: what every Kafka client of the installation is told.

    `member`: a name that stays over restarts, of one reader at a time. A reader that was killed is then replaced at once; without it,
    its partitions are only given away after `_SESSION_SECONDS`.
    """

    kafka: Mapping[str, str]
    topics: Topics
    topic: str
    group: str
    member: str | None = None


class MessageLoop:
    """Takes the messages of one topic, in order within each partition.

    A message's offset is stored once its effect is done and its events are on Kafka. A crash in between means that the message
    comes again and finds its effect done.
    """

    def __init__(self, subscription: Subscription, handle: Handler, publisher: Publisher, beat: Beat = unwatched) -> None:
        self._subscription = subscription
        self._handle = handle
        self._publisher = publisher
        self._beat = beat
        self._held: deque[Message] = deque()
        self._read_at = float("-inf")
        self._fetches = True
        self._pause = _Pause()
        self._stop = Event()
        self._log = log.bind(topic=subscription.topic)

    def run(self, stop: Event) -> None:
        """Work until `stop`, then finish the message in hand and commit; those behind it come again."""
        self._stop = stop
        membership = Membership(self._subscription.kafka, self._subscription.group)
        consumer = self._consumer()
        try:
            while not stop.is_set():
                self._beat()
                self._take(consumer)
                if self._held and self._pause.is_over():
                    self._work(consumer)
                if not self._held and membership.is_lost(consumer):
                    self._log.warning("the consumer group has lost this reader; it joins anew", group=self._subscription.group)
                    abandon(consumer)
                    consumer = self._consumer()
        finally:
            consumer.close()

    def _consumer(self) -> Consumer:
        settings: dict[str, str | int | bool] = {
            **self._subscription.kafka,
            "group.id": self._subscription.group,
            "session.timeout.ms": _SESSION_SECONDS * 1000,
            "auto.offset.reset": "earliest",
            "enable.auto.offset.store": False,
            "auto.commit.interval.ms": 1000,
            "partition.assignment.strategy": "cooperative-sticky",
            "topic.metadata.refresh.interval.ms": 10_000,
            "allow.auto.create.topics": False,
        }
        if self._subscription.member is not None:
            settings["group.instance.id"] = self._subscription.member
        consumer = Consumer(settings, logger=logging.getLogger("kafka"))
        consumer.subscribe([self._subscription.topic], on_assign=self._welcome, on_revoke=self._forget, on_lost=self._forget)
        return consumer

    def _welcome(self, _consumer: Consumer, _partitions: list[TopicPartition]) -> None:
        """Partitions come, perhaps again: one that was paused when it went is paused still, as the client remembers it."""
        self._fetches = False

    def _forget(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Partitions go to another launcher, and with them what is held of them: it will be sent there again."""
        gone = {(each.topic, each.partition) for each in partitions}
        self._held = deque(message for message in self._held if (message.topic(), message.partition()) not in gone)

    def _fetch_only_if_free(self, consumer: Consumer) -> None:
        """While something is held, nothing more is fetched. What was held may also have gone with its partition; those that stay go on."""
        if self._held:
            consumer.pause(consumer.assignment())  # each time: an assignment may have come since
            self._fetches = False
        elif not self._fetches:
            consumer.resume(consumer.assignment())
            self._fetches = True
            metrics.PAUSED.labels(self._subscription.topic).set(0)

    def _take(self, consumer: Consumer) -> None:
        self._fetch_only_if_free(consumer)
        first = consumer.poll(_POLL_SECONDS)  # `consume` would wait its time-out for the batch to fill
        messages = [first, *consumer.consume(BATCH - 1, timeout=0)] if first is not None else []
        if messages:
            self._read_at = time.monotonic()
        for message in messages:
            error = message.error()
            if error is None:
                self._held.append(message)
            elif error.fatal():
                raise LauncherError(f"the consumer cannot go on: {error.str()}")
            elif error.code() != KafkaError._PARTITION_EOF:
                self._log.warning("Kafka reports a problem; waiting for it to pass", error=error.str())

    def _work(self, consumer: Consumer) -> None:
        """Handle what is held, up to the first that must wait; tell; store offsets."""
        outcomes, waits = self._outcomes()
        try:
            self._publisher.publish(chain.from_iterable(outcomes))
        except NotNow as reason:
            outcomes, waits = [], reason
        for _ in outcomes:
            self._store(consumer, self._held.popleft())
        metrics.PAUSED.labels(self._subscription.topic).set(waits is not None)
        if waits is not None:
            seconds = self._pause.begin(waits.retry_after_seconds)
            self._log.warning("paused", reason=str(waits), seconds=seconds, held=len(self._held))
        else:
            self._pause.end()

    def _outcomes(self) -> tuple[list[list[Outgoing]], NotNow | None]:
        """What to tell of each message that was handled, and what the next one waits for."""
        outcomes: list[list[Outgoing]] = []
        for message in self._held:
            if self._stop.is_set():
                break
            self._beat()
            try:
                outcomes.append(self._outcome(message))
            except NotNow as reason:
                return outcomes, reason
        return outcomes, None

    def _outcome(self, message: Message) -> list[Outgoing]:
        try:
            events = self._handle(_value(message), self._read_at)
        except MessageRejected as rejection:
            return [self._dead_letter(message, str(rejection))]
        except NotNow:
            raise
        except Exception as error:
            # one message that trips the launcher must not stop all that are behind it
            self._log.exception("a message could not be handled", partition=message.partition(), offset=message.offset())
            return [self._dead_letter(message, f"the launcher failed on it: {type(error).__name__}")]
        metrics.MESSAGES.labels(self._subscription.topic, "handled").inc()
        return [event_message(self._subscription.topics.events, event) for event in events]

    def _dead_letter(self, message: Message, reason: str) -> Outgoing:
        metrics.MESSAGES.labels(self._subscription.topic, "rejected").inc()
        self._log.error("message rejected", reason=reason[:1000], partition=message.partition(), offset=message.offset())
        place = (self._subscription.topic, int(message.partition() or 0), int(message.offset() or 0))
        key, value, headers = dead_letter(message.key(), message.value(), reason, *place)
        return Outgoing(self._subscription.topics.dlq(self._subscription.topic), key, value or b"", headers)

    def _store(self, consumer: Consumer, message: Message) -> None:
        try:
            consumer.store_offsets(message=message)
        except KafkaException as error:
            if error.args[0].code() != KafkaError._STATE:
                raise
            self._log.info("partition is another launcher's by now; it will find the work done", partition=message.partition())


def _value(message: Message) -> bytes:
    value: bytes | None = message.value()
    if value is None:
        raise MessageRejected("the message is empty")
    if len(value) > MOST_READ_BYTES:
        raise MessageRejected(f"the message has {len(value)} bytes; at most {MOST_READ_BYTES} are read")
    return value


class _Pause:
    """Waits that double while the cause lasts, or as long as was asked for, if that is longer."""

    def __init__(self) -> None:
        self._until = float("-inf")
        self._next = _FIRST_PAUSE_SECONDS

    def begin(self, asked_seconds: float | None = None) -> float:
        seconds = min(max(self._next, asked_seconds or 0), _LONGEST_PAUSE_SECONDS)
        self._next = min(self._next * 2, _LONGEST_PAUSE_SECONDS)
        self._until = time.monotonic() + seconds
        return seconds

    def end(self) -> None:
        self._next = _FIRST_PAUSE_SECONDS

    def is_over(self) -> bool:
        return time.monotonic() >= self._until
