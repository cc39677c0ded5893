"""Real Kafka and S3 for the launcher's tests; each test has topics and a bucket of its own."""

from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from contracts.identifiers import new_id
from contracts.topics import Topics
from tests.control_plane.servers import Kafka, SeaweedFs, s3_client, started
from tests.launcher.kafka_probe import KafkaProbe
from tests.launcher.stub_api import Api


@pytest.fixture(scope="session")
def kafka_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    yield from started(Kafka(tmp_path_factory.mktemp("kafka")))


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    yield from started(SeaweedFs(tmp_path_factory.mktemp("s3")))


@pytest.fixture
def kafka(kafka_server: Kafka) -> Iterator[KafkaProbe]:
    """A broker with fresh topics."""
    topics = Topics(f"test-{new_id().hex}")
    admin = AdminClient({"bootstrap.servers": kafka_server.bootstrap})
    for future in admin.create_topics([NewTopic(name, 2, 1) for name in topics.all]).values():
        future.result()
    with KafkaProbe.open(kafka_server.bootstrap, topics) as probe:
        yield probe


@pytest.fixture
def bucket(s3_server: SeaweedFs) -> Iterator[Any]:
    """A client of the store, and a fresh bucket."""
    name = f"test-{new_id().hex}"
    client = s3_client(s3_server.endpoint)
    client.create_bucket(Bucket=name)
    try:
        yield client, name
    finally:
        client.close()


@pytest.fixture
def api() -> Iterator[Api]:
    """What the launcher asks of the API: public keys and the time."""
    with Api.serve() as api:
        yield api
