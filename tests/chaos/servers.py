"""The local platform's servers, under a supervisor that starts each again whenever it falls; with their data on a small disk, or not."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from stratum.local import jars
from stratum.local.java import ensure_java
from stratum.local.kafka import Kafka, new_cluster_id
from stratum.local.ports import choose_port, settle_ports
from stratum.local.postgres import Postgres
from stratum.local.seaweed import PORT_FLAGS, Seaweed
from stratum.local.services import Service
from stratum.local.supervisor import NotReady, Supervisor
from tests.chaos.small_disk import SmallDisk

START_SECONDS = 60
S = TypeVar("S", bound=Service)


@dataclass(frozen=True)
class Server(Generic[S]):
    """One of them, running."""

    service: S
    supervisor: Supervisor

    @property
    def name(self) -> str:
        return self.service.program().name

    @property
    def log(self) -> str:
        """All that it said."""
        return self.supervisor.log_file(self.name).read_text(errors="replace")

    @property
    def pid(self) -> int:
        """Of its present life; 0 between two of them."""
        return self.supervisor.state(self.name).pid

    async def serves(self) -> bool:
        """Whether it answers as it should."""
        try:
            await asyncio.to_thread(self.service.check)
        except NotReady:
            return False
        return True

    def start(self) -> None:
        """Start it, unless it runs, and wait until it answers."""
        self.supervisor.start(self.name)
        _in_a_thread(lambda: self.supervisor.await_ready(self.name, self.service.check, START_SECONDS))

    def start_again(self) -> None:
        """End it and start it, as an operator does."""
        self.supervisor.stop(self.name)
        self.start()


@contextmanager
def running(service: S, home: Path, disk: SmallDisk | None = None) -> Iterator[Server[S]]:
    """The server, inside the block. `home`: where its supervisor and its log are, for which there is always room."""
    service.prepare()
    supervisor = Supervisor(home)
    supervisor.launch([service.program()])
    server = Server(service, supervisor)
    try:
        server.start()
        yield server
    finally:
        if disk is not None:
            disk.make_room()
        supervisor.shutdown()


@contextmanager
def database_on(disk: SmallDisk, home: Path) -> Iterator[Server[Postgres]]:
    """PostgreSQL, with the roles that ours may not make."""
    with database_in(disk.folder / "postgres", home, disk) as server:
        yield server


@contextmanager
def database_in(folder: Path, home: Path, disk: SmallDisk | None = None) -> Iterator[Server[Postgres]]:
    """The same, wherever its data is."""
    postgres = Postgres(folder, choose_port(set()), "password", "superuser-password")
    with running(postgres, home, disk) as server:
        _in_a_thread(postgres.ensure_roles)
        yield server


@contextmanager
def broker_on(disk: SmallDisk, home: Path) -> Iterator[Server[Kafka]]:
    """Kafka."""
    java = ensure_java(lambda _: None)
    port = choose_port(set())
    kafka = Kafka(disk.folder / "kafka", port, choose_port({port}), new_cluster_id(), java, jars.fetch("kafka", java))
    with running(kafka, home, disk) as server:
        yield server


@contextmanager
def store_on(disk: SmallDisk, home: Path) -> Iterator[Server[Seaweed]]:
    """SeaweedFS."""
    ports = settle_ports({}, PORT_FLAGS, lambda _: None)
    with running(Seaweed(disk.folder / "s3", ports, "access-key", "secret-key", "internal-key"), home, disk) as server:
        yield server


def _in_a_thread(work: Callable[[], None]) -> None:
    """Some of this runs an event loop of its own, and the test runs in one."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(work).result()
