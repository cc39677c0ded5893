"""PostgreSQL, Kafka and S3 in one folder: what the roles stand on, for `stratum up` and for tests alike."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Literal, Protocol

from stratum.local import jars, state
from stratum.local.java import Java, ensure_java
from stratum.local.kafka import Kafka, new_cluster_id
from stratum.local.ports import settle_ports
from stratum.local.postgres import Postgres
from stratum.local.program import Program
from stratum.local.seaweed import PORT_FLAGS, Seaweed
from stratum.local.supervisor import Supervisor

READY_SECONDS = 120
PORT_NAMES = ("postgres", "kafka", "kafka_controller", *PORT_FLAGS)

Progress = Callable[[str], None]


class ServicesState(state.StateModel):
    """What must be the same at the next start."""

    version: Literal[1] = 1
    ports: dict[str, int]
    postgres_password: str
    postgres_superuser_password: str
    kafka_cluster_id: str
    s3_access_key: str
    s3_secret_key: str
    s3_internal_key: str

    @classmethod
    def fresh(cls) -> ServicesState:
        """New secrets; no ports yet."""
        return cls(
            ports={},
            postgres_password=secrets.token_hex(16),
            postgres_superuser_password=secrets.token_hex(16),
            kafka_cluster_id=new_cluster_id(),
            s3_access_key=secrets.token_hex(10),
            s3_secret_key=secrets.token_hex(20),
            s3_internal_key=secrets.token_hex(16),
        )


class Service(Protocol):
    """One of the three servers."""

    def prepare(self) -> None:
        """Make what it needs before its first start."""

    def program(self) -> Program:
        """How to run it."""

    def check(self) -> None:
        """Raise NotReady unless it answers."""


class LocalServices:
    """PostgreSQL, Kafka and S3 of one home folder."""

    def __init__(self, home: Path, java: Java, kafka_jars: Path) -> None:
        self._home = home
        self._java = java
        self._kafka_jars = kafka_jars
        self._state_file = home / "services.json"
        self._state = state.load(self._state_file, ServicesState) or ServicesState.fresh()

    @property
    def postgres(self) -> Postgres:
        """The database server."""
        kept = self._state
        return Postgres(self._home / "postgres", kept.ports["postgres"], kept.postgres_password, kept.postgres_superuser_password)

    @property
    def kafka(self) -> Kafka:
        """The broker."""
        ports = self._state.ports
        folder = self._home / "kafka"
        return Kafka(folder, ports["kafka"], ports["kafka_controller"], self._state.kafka_cluster_id, self._java, self._kafka_jars)

    @property
    def s3(self) -> Seaweed:
        """The S3 server."""
        kept = self._state
        ports = {name: kept.ports[name] for name in PORT_FLAGS}
        return Seaweed(self._home / "s3", ports, kept.s3_access_key, kept.s3_secret_key, kept.s3_internal_key)

    def prepare(self, progress: Progress) -> list[Program]:
        """Settle ports and secrets, make what is missing; returns how to run each server. Call it while none of them runs.

        Raises:
            LocalError: something could not be made.
        """
        self._home.mkdir(parents=True, exist_ok=True)
        ports = settle_ports(self._state.ports, PORT_NAMES, progress)
        self._state = self._state.model_copy(update={"ports": ports})
        state.save(self._state_file, self._state)
        services = self._all()
        _at_once([service.prepare for service in services])
        return [service.program() for service in services]

    def start(self, supervisor: Supervisor) -> None:
        """Start each server that does not run, and wait until all answer.

        Raises:
            ServiceFailed: one does not; the message ends with its log.
        """
        _at_once([partial(_start, supervisor, service) for service in self._all()])
        self.postgres.ensure_roles()

    def _all(self) -> tuple[Service, ...]:
        return (self.postgres, self.kafka, self.s3)


@contextmanager
def running_services(home: Path, progress: Progress = lambda _: None) -> Iterator[tuple[LocalServices, Supervisor]]:
    """The three servers alone, under a supervisor of their own: up inside the block, gone after it. The data stays.

    Args:
        home: any folder; started again on the same one, everything is found again.
    """
    java = ensure_java(progress)
    services = LocalServices(home, java, jars.fetch("kafka", java))
    supervisor = Supervisor(home)
    supervisor.shutdown()
    programs = services.prepare(progress)
    supervisor.launch(programs)
    try:
        services.start(supervisor)
        yield services, supervisor
    finally:
        supervisor.shutdown()


def _start(supervisor: Supervisor, service: Service) -> None:
    name = service.program().name
    supervisor.start(name)
    supervisor.await_ready(name, service.check, READY_SECONDS)


def _at_once(tasks: Sequence[Callable[[], None]]) -> None:
    """Run all; the first error is raised after all have ended."""
    with ThreadPoolExecutor(len(tasks)) as pool:
        for done in [pool.submit(task) for task in tasks]:
            done.result()
