"""Kafka: one look at brokers and topics, judged from several sides, and a message written and read."""

import secrets
import time
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._resource import ResourceType
from confluent_kafka.cimpl import NewTopic

from contracts.catalog import Catalog
from contracts.topics import MAX_MESSAGE_BYTES, Topics
from stratum.preflight.errors import Unreachable
from stratum.preflight.finding import Finding, failed, passed, skipped, warned
from stratum.preflight.runner import Check
from stratum.preflight.target import Target, is_loopback

GROUP = "kafka"
SECONDS = 10.0
_OUTAGE_MS = 3 * 86_400_000
"""A weekend: so long the readers may be away beyond the longest wait before messages would be lost."""
_NOT_ALLOWED = (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED)


@dataclass(frozen=True)
class Topic:
    """What is known of one topic.

    Attributes:
        replicas: of its worst partition, as `in_sync`.
        settings: the broker's answer, empty if refused.
        allowed: what these credentials may do with it, such as `READ`; None if the broker does not tell.
    """

    name: str
    partitions: int
    leaderless: int
    replicas: int
    in_sync: int
    settings: dict[str, str]
    allowed: frozenset[str] | None = None


@dataclass(frozen=True)
class Seen:
    """The brokers, and those of our topics that exist."""

    brokers: int
    topics: dict[str, Topic]


def checks(target: Target) -> list[Check]:
    """The checks of this group."""
    if target.kafka_bootstrap is None:
        return [
            Check(GROUP, "address", lambda: skipped("STRATUM_KAFKA_BOOTSTRAP is not set", "Set it to host:port of one or more brokers."))
        ]
    kafka = Kafka(target, target.kafka_bootstrap)
    wanted = target.topics
    return [
        Check(GROUP, "reachable", kafka.reachable),
        Check(
            GROUP, "security", lambda: judge_security(target.kafka_security.kafka_security_protocol, kafka.is_local), needs=("reachable",)
        ),
        Check(GROUP, "topics", lambda: judge_topics(kafka.seen, wanted), needs=("reachable",)),
        Check(GROUP, "partitions", lambda: judge_partitions(kafka.seen, wanted), needs=("reachable", "topics")),
        Check(GROUP, "retention", kafka.retention, needs=("reachable", "topics")),
        Check(GROUP, "message size", lambda: judge_message_size(kafka.seen), needs=("reachable", "topics")),
        Check(GROUP, "replication", lambda: judge_replication(kafka.seen), needs=("reachable", "topics")),
        Check(GROUP, "rights", lambda: judge_rights(kafka.seen, wanted), needs=("reachable", "topics")),
        Check(GROUP, "write and read", kafka.write_and_read, needs=("reachable",)),
    ]


class Kafka:
    """One set of brokers. `seen` is there after `reachable` has passed."""

    seen: Seen

    def __init__(self, target: Target, bootstrap: str) -> None:
        self._target = target
        self._bootstrap = bootstrap
        self._said = ""

    @property
    def is_local(self) -> bool:
        """Whether all brokers are on this machine."""
        return all(is_loopback(address.strip().rpartition(":")[0].strip("[]")) for address in self._bootstrap.split(","))

    def reachable(self) -> Finding:
        """Ask for all topics and for the settings of ours."""
        try:
            self.seen = self._look()
        except KafkaException as error:
            return failed(
                f"{self._bootstrap} ({self._target.kafka_security.kafka_security_protocol}): {self._said or _words(error)}",
                "Start Kafka, open the way to every broker's advertised address, or correct STRATUM_KAFKA_BOOTSTRAP, "
                "STRATUM_KAFKA_SECURITY_PROTOCOL, STRATUM_KAFKA_SASL_* and STRATUM_CA_BUNDLE.",
            )
        return passed(f"{self.seen.brokers} broker{'s' * (self.seen.brokers != 1)} at {self._bootstrap}")

    def retention(self) -> Finding:
        """How long messages are kept, beside the longest process of the catalog."""
        return judge_retention(self.seen, longest_wait_ms(self._target.catalog), may_be_bounded=self._target.local_home is not None)

    def write_and_read(self) -> Finding:
        """A message through a topic made for it, which no service reads."""
        name = f"{self._target.topic_prefix}.preflight.{secrets.token_hex(4)}"
        admin = AdminClient(self._config())
        new = NewTopic(name, num_partitions=1, replication_factor=min(self.seen.brokers, 3), config={"retention.ms": "600000"})
        try:
            admin.create_topics([new])[name].result(SECONDS)
        except KafkaException as error:
            if error.args[0].code() in _NOT_ALLOWED:
                return skipped(
                    f"a topic {name} may not be created with these credentials",
                    f"Allow creating and deleting topics with the prefix {self._target.topic_prefix}.preflight, to have a message tried.",
                )
            return failed(f"topic {name} cannot be created: {_words(error)}", "See the brokers' log.")
        try:
            return self._through(name)
        except Unreachable as error:
            return failed(
                str(error), "Allow writing and reading; see the brokers' log, and whether each broker's advertised address is reachable."
            )
        finally:
            admin.delete_topics([name])[name].result(SECONDS)

    def _through(self, topic: str) -> Finding:
        begin = time.monotonic()
        value = secrets.token_bytes(16)
        self._write(topic, value)
        consumer = Consumer({**self._config(), "group.id": topic, "enable.auto.commit": False, "auto.offset.reset": "earliest"})
        try:
            consumer.assign([TopicPartition(topic, 0, 0)])
            message = consumer.poll(SECONDS)
        finally:
            consumer.close()
        if message is None:
            raise Unreachable(f"a message was written and not seen within {SECONDS:g} s")
        if (error := message.error()) is not None:
            raise Unreachable(f"a message was written and cannot be read: {error.str()}")
        if message.value() != value:
            raise Unreachable("another message was read than was written")
        return passed(f"a message went through a topic of its own in {time.monotonic() - begin:.1f} s")

    def _write(self, topic: str, value: bytes) -> None:
        trouble: list[str] = []
        producer = Producer({**self._config(), "acks": "all", "enable.idempotence": True, "delivery.timeout.ms": int(SECONDS * 1000)})
        producer.produce(topic, value, on_delivery=lambda error, _: trouble.append(error.str()) if error else None)
        left = producer.flush(SECONDS + 2)
        if left or trouble:
            raise Unreachable(f"a message cannot be written: {trouble[0] if trouble else 'no answer'}")

    def _look(self) -> Seen:
        config: dict[str, Any] = {**self._config(), "error_cb": self._hear}
        admin = AdminClient(config)
        try:
            metadata = admin.list_topics(timeout=SECONDS)
        except KafkaException:
            admin.poll(0)  # the reason is told to the callback alone
            raise
        names = [name for name in self._target.topics.all if name in metadata.topics]
        settings, allowed = _settings(admin, names), _allowed(admin, names)
        return Seen(len(metadata.brokers), {name: _topic(metadata.topics[name], settings[name], allowed[name]) for name in names})

    def _hear(self, error: KafkaError) -> None:
        if error.code() != KafkaError._ALL_BROKERS_DOWN:
            self._said = error.str()

    def _config(self) -> dict[str, Any]:
        return {
            "bootstrap.servers": self._bootstrap,
            "client.id": "stratum-preflight",
            "log_level": 0,  # what matters of it comes back from the calls
            **self._target.kafka_security.kafka_client_config,
        }


def _settings(admin: AdminClient, names: list[str]) -> dict[str, dict[str, str]]:
    asked = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    found: dict[str, dict[str, str]] = {}
    for resource, future in (admin.describe_configs(asked) if asked else {}).items():
        try:
            found[resource.name] = {name: entry.value for name, entry in future.result(SECONDS).items()}
        except KafkaException as error:
            if error.args[0].code() not in _NOT_ALLOWED:
                raise
            found[resource.name] = {}
    return found


def _allowed(admin: AdminClient, names: list[str]) -> dict[str, frozenset[str] | None]:
    if not names:
        return {}
    found: dict[str, frozenset[str] | None] = {}
    asked = admin.describe_topics(TopicCollection(names), include_authorized_operations=True, request_timeout=SECONDS)
    for name, future in asked.items():
        try:
            operations = future.result(SECONDS).authorized_operations
        except KafkaException as error:
            if error.args[0].code() not in (*_NOT_ALLOWED, KafkaError._UNSUPPORTED_FEATURE, KafkaError.UNSUPPORTED_VERSION):
                raise
            operations = None
        found[name] = frozenset(operation.name for operation in operations) if operations is not None else None
    return found


def _topic(metadata: Any, settings: dict[str, str], allowed: frozenset[str] | None) -> Topic:
    partitions = list(metadata.partitions.values())
    return Topic(
        name=metadata.topic,
        partitions=len(partitions),
        leaderless=sum(partition.leader < 0 for partition in partitions),
        replicas=min((len(partition.replicas) for partition in partitions), default=0),
        in_sync=min((len(partition.isrs) for partition in partitions), default=0),
        settings=settings,
        allowed=allowed,
    )


def judge_security(protocol: str, is_local: bool) -> Finding:
    """Judge how messages travel. They are signed, so they cannot be forged; plain ones can be read and held back."""
    if protocol in ("SSL", "SASL_SSL"):
        return passed(protocol)
    if is_local:
        return passed(f"{protocol}, and never leaves this machine")
    return warned(
        f"{protocol}: messages, and the password if there is one, can be read on the way",
        "Set STRATUM_KAFKA_SECURITY_PROTOCOL=SASL_SSL or SSL.",
    )


def judge_topics(seen: Seen, wanted: Topics) -> Finding:
    """Judge that every topic exists."""
    missing = [name for name in wanted.all if name not in seen.topics]
    if missing:
        return failed(
            f"missing: {', '.join(missing)}",
            "Run `python -m control_plane topics`; STRATUM_TOPIC_PREFIX must be the same for all services.",
        )
    return passed(f"all {len(wanted.all)} topics with the prefix {wanted.prefix} exist")


def judge_rights(seen: Seen, wanted: Topics) -> Finding:
    """Judge what these credentials may do with the real topics, which no message of ours may go through."""
    sent, taken = {"WRITE": "relay", "READ": "submit"}, {"WRITE": "submit and observe", "READ": "reconcile"}
    uses = {wanted.commands: sent, wanted.cancels: sent, wanted.events: taken}
    uses |= {wanted.dlq(topic): {"WRITE": whose["READ"]} for topic, whose in uses.items()}
    unknown = [name for name in uses if seen.topics[name].allowed is None]
    if unknown:
        return skipped(f"the brokers do not tell what is allowed on {', '.join(unknown)}")
    missing = [
        f"{operation} {name} ({role})"
        for name, whose in uses.items()
        for operation, role in whose.items()
        if operation not in (seen.topics[name].allowed or ())
    ]
    if missing:
        return warned(
            f"these credentials may not {', '.join(missing)}",
            "Add ACLs (kafka-acls.sh --add --allow-principal …), unless the role named behind each has credentials of its own.",
        )
    return passed("these credentials may write and read as the roles do")


def judge_partitions(seen: Seen, wanted: Topics) -> Finding:
    """Judge that each partition has a leader, and that several readers can share the work."""
    leaderless = [f"{topic.name} ({topic.leaderless} of {topic.partitions})" for topic in seen.topics.values() if topic.leaderless]
    if leaderless:
        return failed(f"without a leader: {', '.join(leaderless)}", "Bring the brokers that hold these partitions back.")
    detail = ", ".join(f"{seen.topics[name].partitions} {name}" for name in (wanted.commands, wanted.cancels, wanted.events))
    if seen.topics[wanted.commands].partitions == 1:
        return warned(
            detail, f"More than one reader needs more partitions: kafka-topics.sh --alter --topic {wanted.commands} --partitions 6."
        )
    return passed(detail)


def longest_wait_ms(catalog: Catalog) -> int:
    """How long a message of an open process may matter: the longest wait for a start and the longest run after it."""
    limits = [action.limits for action in catalog.actions.values()]
    return 1000 * max(limit.start_before_seconds + limit.time_limit_seconds for limit in limits)


def judge_retention(seen: Seen, wait_ms: int, *, may_be_bounded: bool = False) -> Finding:
    """Judge that nothing is removed while its process is open.

    Args:
        may_be_bounded: on one's own machine, where the disk counts more than a long backlog.
    """
    unknown = [topic.name for topic in seen.topics.values() if not topic.settings]
    if unknown:
        return skipped(f"the settings of {', '.join(unknown)} may not be read", "Allow DescribeConfigs on the topics, to have them judged.")
    compacted = [topic.name for topic in seen.topics.values() if "compact" in topic.settings["cleanup.policy"]]
    if compacted:
        return failed(
            f"compacted: {', '.join(compacted)}: an earlier message of a process is removed by a later one",
            f"kafka-configs.sh --alter --topic {compacted[0]} --add-config cleanup.policy=delete, for each.",
        )
    bounded = [topic.name for topic in seen.topics.values() if int(topic.settings["retention.bytes"]) >= 0]
    kept = {topic.name: int(topic.settings["retention.ms"]) for topic in seen.topics.values()}
    shortest = min(kept, key=lambda name: kept[name] if kept[name] >= 0 else float("inf"))
    cure = f"kafka-configs.sh --alter --topic {shortest} --add-config retention.ms={wait_ms + 2 * _OUTAGE_MS}."
    detail = f"{_days(kept[shortest])} ({shortest}); the longest process takes {_days(wait_ms)}"
    if 0 <= kept[shortest] < wait_ms:
        return failed(detail, cure)
    if 0 <= kept[shortest] < wait_ms + _OUTAGE_MS:
        return warned(f"{detail}: an outage over a weekend loses messages", cure)
    if bounded and not may_be_bounded:
        return warned(
            f"limited by size too: {', '.join(bounded)}", f"kafka-configs.sh --alter --topic {bounded[0]} --delete-config retention.bytes."
        )
    return passed(detail)


def judge_message_size(seen: Seen) -> Finding:
    """Judge that the largest command fits."""
    known = {topic.name: int(topic.settings["max.message.bytes"]) for topic in seen.topics.values() if topic.settings}
    if not known:
        return skipped("the settings of the topics may not be read", "Allow DescribeConfigs on the topics, to have them judged.")
    small = [f"{name} ({size:,})" for name, size in known.items() if size < MAX_MESSAGE_BYTES]
    if small:
        name = small[0].partition(" ")[0]
        return failed(
            f"less than {MAX_MESSAGE_BYTES:,} bytes: {', '.join(small)}",
            f"kafka-configs.sh --alter --topic {name} --add-config max.message.bytes={MAX_MESSAGE_BYTES}, for each.",
        )
    return passed(f"up to {min(known.values()):,} bytes")


def judge_replication(seen: Seen) -> Finding:
    """Judge what the loss of a broker does to the topics."""
    worst = min(seen.topics.values(), key=lambda topic: topic.replicas)
    needed = max((int(topic.settings.get("min.insync.replicas", 1)) for topic in seen.topics.values()), default=1)
    detail = f"{worst.replicas} replicas, {needed} in sync needed for a write"
    if needed > worst.replicas:
        return failed(f"{worst.name}: {detail}: every write is refused", "Lower min.insync.replicas, or give the topics more replicas.")
    if seen.brokers == 1:
        return passed("one broker, one replica: what it loses is lost")
    if worst.replicas == 1:
        return warned(
            f"{worst.name}: one replica on {seen.brokers} brokers",
            "Recreate the topics with STRATUM_TOPIC_REPLICATION=3, or reassign them.",
        )
    behind = [topic.name for topic in seen.topics.values() if topic.in_sync < topic.replicas]
    if behind:
        return warned(f"{detail}; replicas are behind: {', '.join(behind)}", "Bring the missing brokers back.")
    if needed == 1:
        return warned(detail, "Set min.insync.replicas=2: with 1 a write that was confirmed can be lost with one broker.")
    return passed(detail)


def _days(milliseconds: int) -> str:
    return "no limit" if milliseconds < 0 else f"{milliseconds / 86_400_000:.3g} days"


def _words(error: KafkaException) -> str:
    return str(error.args[0].str() if isinstance(error.args[0], KafkaError) else error)
