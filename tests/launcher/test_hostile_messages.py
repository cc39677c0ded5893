"""Whatever is written to the command topics: it is put aside with its reason, and what stands behind it on the partition goes on."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given

from contracts.topics import MOST_READ_BYTES
from launcher.process.ending import stop_jobs
from tests.hostile import examples, spoiled
from tests.launcher.kafka_probe import KafkaProbe, headers_of
from tests.launcher.stub_api import Api
from tests.launcher.test_messages import Installation

pytestmark = pytest.mark.security


@pytest.fixture
def installation(tmp_path: Path, kafka: KafkaProbe, api: Api) -> Iterator[Installation]:
    installation = Installation(tmp_path, kafka, api)
    yield installation
    stop_jobs(installation.jobs, "the test is over", 0.2)


def test_commands_and_cancels_of_every_kind(installation: Installation) -> None:
    api, topics = installation.api, installation.kafka.topics
    genuine, victim = api.command(), api.command()
    command = json.loads(genuine.model_dump_json())
    cancel = json.loads(api.cancel(victim).model_dump_json())
    made: dict[str, list[bytes]] = {topics.commands: [], topics.cancels: []}

    @examples(50)
    @given(spoiled(command), spoiled(cancel))
    def fill(one: bytes, other: bytes) -> None:
        made[topics.commands].append(one)
        made[topics.cancels].append(other)

    fill()
    # each of these once made a dead letter that was larger than a message may be: the partition stood still
    field = {**command, "inputs": [{**command["inputs"][0], "x" * 450_000: 1, "y" * 20_000: 1}]}
    made[topics.commands] += [
        json.dumps(field).encode(),
        b" " * (MOST_READ_BYTES + 1),
        json.dumps({**command, "tenant": "somebody-else"}).encode(),
        json.dumps({**command, "storage_root": "s3://elsewhere", "process_id": str(victim.process_id)}).encode(),
    ]
    with installation.running():
        for topic, values in made.items():
            installation.kafka.send(topic, *values, key=b"one partition")
        installation.kafka.send(topics.commands, b"{}", key=b"k" * 700_000)
        installation.kafka.send(topics.commands, genuine.model_dump_json().encode(), key=b"one partition")
        history = installation.history(genuine, "ended")
        letters = installation.kafka.until_dead_letters(topics.commands, 5)
        installation.kafka.until_dead_letters(topics.cancels, 5)
    for letter in letters:
        assert 0 < len(headers_of(letter)["stratum-reason"]) <= 1000
    events = [event for event in installation.kafka.events() if event.type != "relist"]
    # of what was made some says the same as the genuine one, and may come after its job has ended
    assert [event.adopted for event in history if event.type == "submitted"].count(False) == 1, "its job was started once"
    jobs = {event.process_id for event in events if event.type == "submitted"}
    assert jobs <= {genuine.process_id}, "a token is good for its own attempt alone"
