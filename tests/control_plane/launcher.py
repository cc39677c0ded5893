"""The test in the launcher's place: it reads commands and says what it saw."""

import asyncio
import json
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from confluent_kafka import Consumer, Message, Producer, TopicPartition

from contracts.command import CancelCommand, Command
from contracts.identifiers import job_name, new_id
from tests.control_plane.installation import Installation
from tests.control_plane.waiting import eventually

PROFILE = {"driver_cores": 1, "driver_memory": "1g", "executor_instances": 1, "executor_cores": 1, "executor_memory": "1g"}


@contextmanager
def following(installation: Installation) -> Iterator["Launcher"]:
    """A launcher that follows the commands inside the block."""
    launcher = Launcher(installation).start()
    try:
        yield launcher
    finally:
        launcher.stop()


class Launcher:
    """Follows the command topics in a thread, and publishes events. `cluster` is what it calls itself."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.topics = installation.kafka.topics
        self.cluster = f"cluster-{new_id().hex[-8:]}"
        self.received: dict[str, list[Message]] = defaultdict(list)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow)
        self._producer = Producer(
            {"bootstrap.servers": installation.kafka_bootstrap, "linger.ms": 0, "log_level": 0, "message.max.bytes": 4_000_000}
        )

    def start(self) -> "Launcher":
        self._thread.start()
        return self

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _follow(self) -> None:
        consumer = Consumer(
            {"bootstrap.servers": self.installation.kafka_bootstrap, "group.id": new_id().hex, "enable.auto.commit": False, "log_level": 0}
        )
        names = (self.topics.commands, self.topics.cancels, self.topics.events, self.topics.dlq(self.topics.events))
        known = consumer.list_topics(timeout=20).topics
        while any(name not in known or known[name].error for name in names):  # the broker tells of a new topic a moment later
            known = consumer.list_topics(timeout=20).topics
        consumer.assign([TopicPartition(name, partition, 0) for name in names for partition in known[name].partitions])
        try:
            while not self._stop.is_set():
                for message in consumer.consume(100, 0.05):
                    if message.error() is None:
                        self.received[message.topic()].append(message)
        finally:
            consumer.close()

    def commands(self, process_id: str) -> list[Command]:
        """All commands of a process that have come so far."""
        return [
            c
            for c in (Command.model_validate_json(m.value()) for m in list(self.received[self.topics.commands]))
            if str(c.process_id) == process_id
        ]

    def cancels(self, process_id: str) -> list[CancelCommand]:
        """All its cancel commands that have come so far."""
        found = (CancelCommand.model_validate_json(m.value()) for m in list(self.received[self.topics.cancels]))
        return [c for c in found if str(c.process_id) == process_id]

    def events(self, *process_ids: str) -> list[dict[str, Any]]:
        """All events about the processes that lie in the event topic so far, whoever put them there."""
        keys = [process_id.encode() for process_id in process_ids]
        return [json.loads(message.value()) for message in list(self.received[self.topics.events]) if message.key() in keys]

    async def command(self, process_id: str, attempt: int = 1) -> Command:
        """The command of an attempt, once it has come."""

        async def look() -> Command | None:
            return next((c for c in self.commands(process_id) if c.attempt == attempt), None)

        return await eventually(look, what=f"the command of attempt {attempt}")  # type: ignore[return-value]

    async def cancelled(self, process_id: str) -> CancelCommand:
        """The cancel command, once it has come."""

        async def look() -> CancelCommand | None:
            return next(iter(self.cancels(process_id)), None)

        return await eventually(look, what="the cancel command")  # type: ignore[return-value]

    async def say(self, kind: str, command: Command | CancelCommand, **fields: Any) -> dict[str, Any]:
        """Publish an event about an attempt."""
        event = self.event(kind, command, **fields)
        await self.publish(json.dumps(event).encode(), key=str(command.process_id))
        return event

    def event(self, kind: str, command: Command | CancelCommand, **fields: Any) -> dict[str, Any]:
        """An event about an attempt, as it goes over the wire."""
        ref = {"tenant": command.tenant, "process_id": str(command.process_id), "step": command.step, "attempt": command.attempt}
        name = {} if kind == "refused" else {"job_name": job_name(command.process_id, command.step, command.attempt)}
        usual: dict[str, dict[str, Any]] = {
            "submitted": {"resource_profile": PROFILE},
            "pending": {"cause": "no executor fits on a node"},
            "ended": {"outcome": "completed", "message": "the job ended with exit code 0"},
            "refused": {"error_class": "UNKNOWN_ACTION", "message": "the launcher's catalog has no such action"},
        }
        return {
            "type": kind,
            "event_id": str(new_id()),
            "at": datetime.now(UTC).isoformat(),
            "cluster": self.cluster,
            **ref,
            **name,
            **usual[kind],
            **fields,
        }

    async def relist(self, began_at: datetime, *live: Command, cluster: str = "") -> None:
        """Publish a complete list of jobs, of its own cluster or of another, and wait until it was taken into account."""
        cluster = cluster or self.cluster
        refs = [{"tenant": c.tenant, "process_id": str(c.process_id), "step": c.step, "attempt": c.attempt} for c in live]
        event = {
            "type": "relist",
            "event_id": str(new_id()),
            "at": began_at.isoformat(),
            "cluster": cluster,
            "began_at": began_at.isoformat(),
            "live": refs,
        }
        await self.publish(json.dumps(event).encode(), key=cluster)
        await self.caught_up()

    async def publish(self, value: bytes | None, key: str | bytes | None = None, partition: int = -1) -> None:
        """Put a message on the event topic."""
        options: dict[str, Any] = {} if partition < 0 else {"partition": partition}
        self._producer.produce(self.topics.events, value=value, key=key, **options)
        left = await asyncio.to_thread(self._producer.flush, 10)
        assert left == 0

    async def caught_up(self) -> None:
        """Wait until the reconcilers have read, and committed, all that is on the event topic."""
        group = f"{self.topics.prefix}.reconcile"
        consumer = Consumer(
            {"bootstrap.servers": self.installation.kafka_bootstrap, "group.id": group, "enable.auto.commit": False, "log_level": 0}
        )
        partitions = [TopicPartition(self.topics.events, number) for number in range(2)]
        try:

            async def look() -> bool:
                committed = await asyncio.to_thread(consumer.committed, partitions, 10)
                ends = [(await asyncio.to_thread(consumer.get_watermark_offsets, p, 10, False))[1] for p in partitions]
                return [max(c.offset, 0) for c in committed] == ends

            await eventually(look, what="the end of the event topic")
        finally:
            consumer.close()
