"""Real servers that a test owns: it may kill them, and start them again on the same data and port."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import psutil
from botocore.config import Config

from stratum.local import jars, kafka, postgres
from stratum.local.java import ensure_java
from stratum.local.ports import choose_port
from stratum.local.program import base_environment
from stratum.local.services import Service
from stratum.local.supervisor import NotReady


class Server:
    """One of the local platform's servers, run without its supervisor: what is killed stays dead."""

    def __init__(self, service: Service, folder: Path) -> None:
        self.service = service
        self._log = folder / "server.log"
        self._child: subprocess.Popen[bytes] | None = None
        service.prepare()

    def start(self, seconds: float = 60) -> None:
        """Start it and wait until it answers."""
        program = self.service.program()
        environment = {**base_environment(), **program.environment}
        with self._log.open("ab") as log:
            self._child = subprocess.Popen(
                program.argv, stdout=log, stderr=log, cwd=program.folder, start_new_session=True, env=environment
            )
        until = time.monotonic() + seconds
        while not self._answers():
            assert self._child.poll() is None, f"{program.name} ended; see {self._log}"
            assert time.monotonic() < until, f"{program.name} does not answer; see {self._log}"
            time.sleep(0.05)

    def _answers(self) -> bool:
        """Asked from a thread: some checks run an event loop of their own, and the test may run in one."""
        with ThreadPoolExecutor(1) as thread:
            try:
                thread.submit(self.service.check).result()
            except NotReady:
                return False
        return True

    @property
    def process(self) -> psutil.Process | None:
        """The server's first process, while it is up."""
        return psutil.Process(self._child.pid) if self._child is not None else None

    def kill(self) -> None:
        """`kill -9` of all its processes."""
        if self._child is not None:
            os.killpg(self._child.pid, signal.SIGKILL)
            self._child.wait()
            self._child = None

    @contextmanager
    def running(self) -> Iterator["Server"]:
        """Up inside the block, gone after it."""
        self.start()
        try:
            yield self
        finally:
            self.kill()


class Postgres(Server):
    """PostgreSQL."""

    def __init__(self, folder: Path) -> None:
        self.service: postgres.Postgres
        super().__init__(postgres.Postgres(folder / "postgres", choose_port(set()), "stratum", "super"), folder)

    def start(self, seconds: float = 60) -> None:
        """Start it, with the roles that ours may not make."""
        super().start(seconds)
        with ThreadPoolExecutor(1) as thread:
            thread.submit(self.service.ensure_roles).result()

    @property
    def url(self) -> str:
        return self.service.url


class Kafka(Server):
    """One broker."""

    def __init__(self, folder: Path) -> None:
        self.service: kafka.Kafka
        java = ensure_java(lambda _: None)
        port = choose_port(set())
        broker = kafka.Kafka(folder, port, choose_port({port}), kafka.new_cluster_id(), java, jars.fetch("kafka", java))
        super().__init__(broker, folder)

    @property
    def bootstrap(self) -> str:
        return self.service.bootstrap


def s3_client(endpoint: str, access_key: str, secret_key: str) -> Any:
    """A client as the tests use it to look at the store, and to play the run."""
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        config=Config(
            s3={"addressing_style": "path"},
            retries={"total_max_attempts": 1},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
