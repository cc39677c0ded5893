"""Kafka topics. The prefix lets several installations share a broker."""

from dataclasses import dataclass


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
        """`LauncherEvent` messages; what the launcher did and saw."""
        return f"{self.prefix}.events.v1"

    @staticmethod
    def dlq(topic: str) -> str:
        """Where unreadable messages of `topic` go, with the reason in the header `stratum-reason`."""
        return f"{topic}.dlq"

    @property
    def all(self) -> tuple[str, ...]:
        """Every topic of the installation, dead-letter queues included."""
        used = (self.commands, self.cancels, self.events)
        return used + tuple(self.dlq(topic) for topic in used)
