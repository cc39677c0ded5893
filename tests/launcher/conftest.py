"""Real Kafka and S3 for the launcher's tests; each test has topics and a bucket of its own."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from confluent_kafka.admin import AdminClient, NewTopic

from contracts.identifiers import new_id
from contracts.topics import Topics
from tests.launcher.kafka_probe import KafkaProbe
from tests.launcher.stub_api import Api
from tests.services import Services


@pytest.fixture
def kafka(services: Services) -> Iterator[KafkaProbe]:
    """A broker with fresh topics."""
    topics = Topics(f"test-{new_id().hex}")
    admin = AdminClient({"bootstrap.servers": services.kafka_bootstrap})
    for future in admin.create_topics([NewTopic(name, 2, 1) for name in topics.all]).values():
        future.result()
    with KafkaProbe.open(services.kafka_bootstrap, topics) as probe:
        yield probe


@pytest.fixture
def bucket(services: Services) -> Iterator[tuple[Any, str]]:
    """A client of the store, and a fresh bucket."""
    name = f"test-{new_id().hex}"
    client = boto3.client(
        "s3",
        endpoint_url=services.s3_endpoint,
        region_name="us-east-1",
        aws_access_key_id=services.s3_access_key,
        aws_secret_access_key=services.s3_secret_key,
        config=Config(s3={"addressing_style": "path"}, request_checksum_calculation="when_required"),
    )
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
