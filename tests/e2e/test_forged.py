"""Somebody who can write to Kafka, and has no key: a whole platform does what it was told by those who have one, and nothing more."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
from confluent_kafka import Consumer, Message, Producer, TopicPartition
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contracts.identifiers import new_id
from contracts.topics import REASON_HEADER, Topics
from tests.e2e.platform import Platform, wait_for

LONG = "SELECT k, count(*) AS n FROM source LATERAL VIEW explode(sequence(1, 300)) t AS x WHERE v + x > 3 GROUP BY k"
TOPICS = Topics()


def messages(platform: Platform, topic: str) -> Iterator[Message]:
    """All that lies in a topic."""
    consumer = Consumer({"bootstrap.servers": platform.document["kafka"]["bootstrap"], "group.id": new_id().hex})
    try:
        for partition in consumer.list_topics(topic, timeout=20).topics[topic].partitions:
            _, end = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=20)
            consumer.assign([TopicPartition(topic, partition, 0)])
            while (at := consumer.position([TopicPartition(topic, partition)])[0].offset) < end and not (at < 0 and end == 0):
                yield from consumer.consume(100, timeout=1)
    finally:
        consumer.close()


def letters(platform: Platform, topic: str) -> dict[tuple[int, int], str]:
    """Why each dead letter of a topic is one, by its place."""
    found = messages(platform, TOPICS.dlq(topic))
    return {(message.partition(), message.offset()): dict(message.headers() or [])[REASON_HEADER].decode() for message in found}


def told(platform: Platform, topic: str, count: int) -> dict[tuple[int, int], str]:
    """The letters of a topic, once there are so many."""
    found: dict[tuple[int, int], str] = {}

    def look() -> bool:
        found.update(letters(platform, topic))
        return len(found) >= count

    wait_for(look, 60, lambda: f"{count} dead letters of {topic}; there are {len(found)}")
    return found


def forgeries(command: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What can be made of a true command without the key that signed it, to start or to cancel something."""
    claims = jwt.decode(command["flow_token"], options={"verify_signature": False})
    header = jwt.get_unverified_header(command["flow_token"])
    stranger = Ed25519PrivateKey.generate()
    yield command | {"flow_token": jwt.encode(claims, None, algorithm="none", headers=header | {"alg": "none"})}
    yield command | {"flow_token": jwt.encode(claims, stranger, algorithm="EdDSA", headers={"kid": header["kid"]})}
    if command["kind"] != "cancel":
        yield command | {"parameters": {"condition": "v > 1"}}
        yield command | {"tenant": "globex"}
        yield command | {"attempt": 2}
        yield command | {"storage_root": "s3://elsewhere"}


def test_who_has_no_key_starts_and_cancels_nothing(platform: Platform, tmp_path: Path) -> None:
    data = tmp_path / "rows.csv"
    data.write_text("k,v\n" + "".join(f"{n % 7},{n}\n" for n in range(200_000)))
    platform.cli("ingest", "forged", "v1", str(data))
    done = platform.wait(platform.post(entity_id="forged", data_version="v1", action="filter", parameters={"condition": "v > 6"})["id"])
    values = (json.loads(message.value()) for message in messages(platform, TOPICS.commands))
    (genuine,) = (value for value in values if value["process_id"] == done["id"])
    running = platform.post(entity_id="forged", data_version="v1", action="sql", parameters={"query": LONG})
    platform.wait(running["id"], "running")
    cancel = {name: genuine[name] for name in ("tenant", "step", "attempt", "flow_token")}
    cancel |= {"kind": "cancel", "message_id": str(new_id()), "process_id": running["id"]}
    jobs = {path.name for path in platform.home.glob("jobs/stratum-*")}

    forged = {TOPICS.commands: list(forgeries(genuine)), TOPICS.cancels: [cancel, *forgeries(cancel)]}
    before = {topic: letters(platform, topic) for topic in forged}
    producer = Producer({"bootstrap.servers": platform.document["kafka"]["bootstrap"]})
    for topic, values in forged.items():
        for value in values:
            producer.produce(topic, json.dumps(value).encode(), value["process_id"].encode())
    assert producer.flush(20) == 0

    for topic, values in forged.items():
        reasons = [
            reason for place, reason in told(platform, topic, len(before[topic]) + len(values)).items() if place not in before[topic]
        ]
        assert all("forged" in reason for reason in reasons), reasons
    ended = platform.wait(running["id"], "succeeded")
    assert len(ended["attempts"]) == 1
    platform.assert_sealed_exactly(ended)
    assert platform.get(done["id"]) == done
    assert {path.name for path in platform.home.glob("jobs/stratum-*")} <= jobs
