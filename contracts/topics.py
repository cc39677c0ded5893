"""Kafka topics. The prefix lets several installations share a broker."""

from dataclasses import dataclass

REASON_HEADER = "stratum-reason"
"""On a dead letter: why it could not be taken, in plain words."""
TOPIC_HEADER = "stratum-topic"
"""On a dead letter: the topic it was read from; with the next two, the very record."""
PARTITION_HEADER = "stratum-partition"
OFFSET_HEADER = "stratum-offset"
CUT_HEADER = "stratum-cut-from"
"""On a dead letter whose value was too long to be kept whole: its length in bytes."""

MAX_MESSAGE_BYTES = 4_000_000
"""The largest message that topics are made to take."""

MOST_READ_BYTES = 512 * 1024
"""Longer commands are refused unread; whatever is accepted makes a shorter one. A dead letter keeps values up to this length whole."""
CUT_BYTES = 64 * 1024
"""What a dead letter keeps of a longer value."""
_MOST_KEY_BYTES = 1024
_MOST_REASON_CHARACTERS = 1000


def dead_letter(
    key: str | bytes | None, value: bytes | None, reason: str, topic: str, partition: int, offset: int
) -> tuple[bytes | None, bytes | None, dict[str, bytes]]:
    """Key, value and headers of a message's dead letter. Whatever the message was, its letter fits its topic: nothing waits behind it."""
    headers = {
        REASON_HEADER: reason[:_MOST_REASON_CHARACTERS].encode(errors="replace"),
        TOPIC_HEADER: topic.encode(),
        PARTITION_HEADER: str(partition).encode(),
        OFFSET_HEADER: str(offset).encode(),
    }
    if value is not None and len(value) > MOST_READ_BYTES:
        headers[CUT_HEADER] = str(len(value)).encode()
        value = value[:CUT_BYTES]
    name = key.encode(errors="replace") if isinstance(key, str) else key
    return name[:_MOST_KEY_BYTES] if name is not None else None, value, headers


@dataclass(frozen=True, slots=True)
class Topics:
    """Names of the topics of one installation."""

    prefix: str = "stratum"

    @property
    def commands(self) -> str:
        """`Command` messages, keyed by process id; written by the relay, read by `submit`."""
        return f"{self.prefix}.commands.v1"

    @property
    def cancels(self) -> str:
        """`CancelCommand` messages: their own topic, so that they never wait behind submits."""
        return f"{self.prefix}.cancels.v1"

    @property
    def events(self) -> str:
        """`LauncherEvent` messages, keyed by process id, or by cluster where they are of none; what the launcher did and saw."""
        return f"{self.prefix}.events.v1"

    @staticmethod
    def dlq(topic: str) -> str:
        """Where unreadable messages of `topic` go: key and value as they came (a very long value cut), the headers above added."""
        return f"{topic}.dlq"

    @property
    def all(self) -> tuple[str, ...]:
        """Every topic of the installation, dead-letter queues included."""
        used = (self.commands, self.cancels, self.events)
        return used + tuple(self.dlq(topic) for topic in used)
