"""Real PostgreSQL, Kafka and S3 for a test session, as the local platform runs them."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from stratum.local.services import LocalServices, running_services


@dataclass(frozen=True)
class Services:
    """Where the session's servers are. Tests make databases, topic prefixes and buckets of their own."""

    database_url: str
    kafka_bootstrap: str
    s3_endpoint: str
    s3_access_key: str
    s3_secret_key: str


def addresses(services: LocalServices) -> Services:
    """What clients need of running services."""
    s3 = services.s3
    return Services(services.postgres.url, services.kafka.bootstrap, s3.endpoint, s3.access_key, s3.secret_key)


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """One set of servers for all tests that leave them whole."""
    with running_services(tmp_path_factory.mktemp("services")) as (running, _):
        yield addresses(running)
