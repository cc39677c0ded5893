"""PostgreSQL, Kafka and S3 under their supervisor: what is killed comes back, with its data and on its port."""

import asyncio
import base64
import hashlib
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import asyncpg
import httpx
import psutil
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from stratum.local import supervisor as supervisor_module
from stratum.local.errors import ServiceFailed
from stratum.local.identity import end_group, identity
from stratum.local.ports import HOST
from stratum.local.program import Program
from stratum.local.services import LocalServices, running_services
from stratum.local.supervisor import NotReady, Supervisor
from tests.e2e.platform import wait_for
from tests.figures import report

NAMES = ("postgres", "kafka", "s3")
BUCKET = "things"
TOPIC = "things"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def running(home: Path) -> Iterator[tuple[LocalServices, Supervisor]]:
    with running_services(home) as parts:
        services = parts[0]
        services.s3.create_bucket(BUCKET)
        admin = AdminClient({"bootstrap.servers": services.kafka.bootstrap})
        admin.create_topics([NewTopic(TOPIC, 1, 1)])[TOPIC].result(30)
        query(services, "CREATE TABLE things (name text)")
        yield parts


@pytest.mark.parametrize("is_long_up", [True, False])
def test_a_server_that_hangs_is_started_anew_unless_it_has_only_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_long_up: bool
) -> None:
    monkeypatch.setattr(supervisor_module, "HANGING_SECONDS", 0.5)
    monkeypatch.setattr(supervisor_module, "LONG_UP_SECONDS", 0 if is_long_up else 60)
    supervisor = Supervisor(tmp_path)
    supervisor.launch([Program(name="hanging", argv=("/bin/sleep", "1000"), folder=tmp_path, stop_signal="KILL", settle_seconds=0)])
    try:
        supervisor.start("hanging")
        wait_for(lambda: supervisor.state("hanging").seconds > 1, 20, lambda: "the program to run")
        before = supervisor.state("hanging").pid

        def check() -> None:
            if supervisor.state("hanging").pid == before:
                raise NotReady("it hangs")

        if is_long_up:
            supervisor.await_ready("hanging", check, 30)
            assert psutil.pid_exists(before) is False
        else:
            with pytest.raises(ServiceFailed, match="it hangs"):
                supervisor.await_ready("hanging", check, 3)
    finally:
        supervisor.shutdown()


def query(services: LocalServices, statement: str, *values: object) -> list[str]:
    async def ask() -> list[str]:
        connection = await asyncpg.connect(services.postgres.url)
        try:
            return [str(row[0]) for row in await connection.fetch(statement, *values)]
        finally:
            await connection.close()

    return asyncio.run(ask())


def put(services: LocalServices, name: str) -> None:
    """Store `name` in all three, acknowledged."""
    query(services, "INSERT INTO things VALUES ($1)", name)
    services.s3.client(attempts=5).put_object(Bucket=BUCKET, Key=name, Body=name.encode())
    producer = Producer({"bootstrap.servers": services.kafka.bootstrap, "acks": "all"})
    producer.produce(TOPIC, value=name.encode())
    assert producer.flush(30) == 0


def stored(services: LocalServices) -> tuple[list[str], list[str], list[str]]:
    """What each of the three holds."""
    rows = query(services, "SELECT name FROM things ORDER BY ctid")
    client = services.s3.client(attempts=5)
    keys = [item["Key"] for item in client.list_objects_v2(Bucket=BUCKET).get("Contents", [])]
    objects = [client.get_object(Bucket=BUCKET, Key=key)["Body"].read().decode() for key in keys]
    consumer = Consumer({"bootstrap.servers": services.kafka.bootstrap, "group.id": "reader", "enable.auto.commit": False})
    try:
        _, end = consumer.get_watermark_offsets(TopicPartition(TOPIC, 0), timeout=30)
        consumer.assign([TopicPartition(TOPIC, 0, 0)])
        messages = [message.value() for message in consumer.consume(end, timeout=30)] if end else []
    finally:
        consumer.close()
    return rows, objects, [(value or b"").decode() for value in messages]


@contextmanager
def listening_on(port: int) -> Iterator[None]:
    """A stranger on a port."""
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        stranger.bind((HOST, port))
        stranger.listen(1)
        yield


def ready(running: tuple[LocalServices, Supervisor]) -> None:
    """Wait until all three answer."""
    services, supervisor = running
    for name, part in zip(NAMES, (services.postgres, services.kafka, services.s3), strict=True):
        supervisor.await_ready(name, part.check, 60)


def test_killed_servers_come_back_with_their_data(running: tuple[LocalServices, Supervisor]) -> None:
    services, supervisor = running
    expected: list[str] = []
    for number, name in enumerate(NAMES):
        put(services, f"{number}-{name}")
        expected.append(f"{number}-{name}")
        pid = supervisor.state(name).pid
        killed_at = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda pid=pid, name=name: supervisor.state(name).pid not in (0, pid), 30, lambda name=name: f"a new {name}")  # type: ignore[misc]
        ready(running)
        report(f"{name} killed", f"serves again after {time.monotonic() - killed_at:.1f} s")
        assert stored(services) == (expected, expected, expected)
    put(services, "later")
    assert stored(services)[0] == [*expected, "later"]


def test_what_runs_is_the_server_itself(running: tuple[LocalServices, Supervisor]) -> None:
    _, supervisor = running
    programs = {name: Path(psutil.Process(supervisor.state(name).pid).exe()).name for name in NAMES}
    assert programs == {"postgres": "postgres", "kafka": "java", "s3": "weed"}


def test_nothing_listens_beyond_this_machine_or_on_a_port_not_chosen(running: tuple[LocalServices, Supervisor], home: Path) -> None:
    services, supervisor = running
    listening = {
        connection.laddr
        for name in NAMES
        for connection in psutil.Process(supervisor.state(name).pid).net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    assert {address.ip.removeprefix("::ffff:") for address in listening} == {HOST}
    chosen = {services.postgres.port, services.kafka.port, services.kafka.controller_port, *services.s3.ports.values()}
    assert {address.port for address in listening} == chosen


def test_secrets_are_for_their_owner_alone(running: tuple[LocalServices, Supervisor], home: Path) -> None:
    services, _ = running
    secret = services.s3.secret_key.encode()
    holders = [
        path for path in home.rglob("*") if path.is_file() and path.suffix in (".json", ".conf", ".toml") and secret in path.read_bytes()
    ]
    assert holders
    assert {stat.S_IMODE(path.stat().st_mode) for path in holders} == {0o600}
    lines = [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]
    assert not [line for line in lines if services.s3.secret_key in line or services.postgres.password in line]


def test_objects_cannot_be_reached_past_the_s3_server(running: tuple[LocalServices, Supervisor]) -> None:
    services, _ = running
    filer = f"http://{HOST}:{services.s3.ports['s3_filer']}/buckets/{BUCKET}/"
    assert httpx.get(filer).status_code == 401
    assert httpx.put(f"{filer}new", content=b"x").status_code == 401


class TestUploads:
    """What the store makes of a presigned PUT whose body is not the one that was announced."""

    content = b"A" * 6_000_000
    checksum = base64.b64encode(hashlib.sha256(content).digest()).decode()

    def send(self, services: LocalServices, key: str, body: bytes, **changed: str) -> int:
        url = services.s3.client(attempts=1).generate_presigned_url(
            "put_object", Params={"Bucket": BUCKET, "Key": key, "ChecksumSHA256": self.checksum, "IfNoneMatch": "*"}
        )
        headers = {"x-amz-checksum-sha256": self.checksum, "if-none-match": "*", **changed}
        return httpx.put(url, content=body, headers={name: value for name, value in headers.items() if value}, timeout=30).status_code

    def keys(self, services: LocalServices, prefix: str) -> list[str]:
        found = services.s3.client(attempts=5).list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
        return [item["Key"] for item in found]

    def test_the_announced_body_once(self, running: tuple[LocalServices, Supervisor]) -> None:
        services, _ = running
        assert [self.send(services, "upload-1", self.content) for _ in range(2)] == [200, 412]

    @pytest.mark.parametrize("body", [b"B" * 6_000_000, b"A" * 6_000_001, b""])
    def test_another_body_is_refused_and_leaves_nothing(self, running: tuple[LocalServices, Supervisor], body: bytes) -> None:
        services, _ = running
        assert self.send(services, "upload-2", body) == 400
        assert self.keys(services, "upload-2") == []

    @pytest.mark.parametrize("header", ["x-amz-checksum-sha256", "if-none-match"])
    def test_a_guard_cannot_be_left_out(self, running: tuple[LocalServices, Supervisor], header: str) -> None:
        services, _ = running
        assert self.send(services, "upload-3", self.content, **{header: ""}) == 403
        assert self.keys(services, "upload-3") == []


def test_another_home_beside_it_is_another_platform(running: tuple[LocalServices, Supervisor], tmp_path: Path) -> None:
    services, supervisor = running
    put(services, "of-the-first")
    pids = [supervisor.state(name).pid for name in NAMES]
    long_path = tmp_path / ("x" * 80) / "home with spaces and 100%"
    with running_services(long_path) as (other, other_supervisor):
        assert query(other, "SELECT count(*) FROM pg_tables WHERE tablename = 'things'") == ["0"]
        assert other.s3.client(attempts=5).list_buckets()["Buckets"][0].get("Name") == "stratum-readiness"
        other_pids = [other_supervisor.state(name).pid for name in NAMES]
        assert set(pids).isdisjoint(other_pids)
        ports = (other.postgres.port, other.kafka.port, other.s3.ports)

        other.s3.create_bucket("kept")
        other.s3.client(attempts=5).put_object(Bucket="kept", Key="object", Body=b"of the other")

        # Stopped and started again, with some ports taken by somebody else meanwhile.
        other_supervisor.shutdown()
        assert not any(psutil.pid_exists(pid) for pid in other_pids)
        assert not [path for path in Path("/tmp").glob("seaweedfs-*.sock") if any(str(port) in path.name for port in ports[2].values())]
        taken = {"kafka_controller": other.kafka.controller_port, "s3_master": ports[2]["s3_master"], "s3_volume": ports[2]["s3_volume"]}
        told: list[str] = []
        with ExitStack() as strangers:
            for port in taken.values():
                strangers.enter_context(listening_on(port))
            with running_services(long_path, told.append) as (again, _):
                assert again.s3.client(attempts=5).get_object(Bucket="kept", Key="object")["Body"].read() == b"of the other"
                assert (again.postgres.port, again.kafka.port) == ports[:2]
                assert {name for name, port in again.s3.ports.items() if port != ports[2][name]} == {"s3_master", "s3_volume"}
        assert {line.split(" is taken")[0] for line in told if "taken" in line} == {
            f"port {port} of {name}" for name, port in taken.items()
        }
    shutil.rmtree(long_path)
    assert [supervisor.state(name).pid for name in NAMES] == pids


def test_servers_of_a_killed_supervisor_are_ended_and_strangers_are_not(tmp_path: Path) -> None:
    with running_services(tmp_path) as (services, supervisor):
        services.s3.create_bucket(BUCKET)
        orphans = [supervisor.state(name).pid for name in NAMES]
        ports = (services.postgres.port, services.kafka.port, services.s3.ports)
        daemon = psutil.Process(orphans[0]).ppid()
        os.kill(daemon, signal.SIGKILL)
        wait_for(lambda: not supervisor.is_running(), 10, lambda: "the supervisor to be gone")
        assert all(psutil.pid_exists(pid) for pid in orphans)

        with running_services(tmp_path) as (again, _):
            assert not any(psutil.pid_exists(pid) for pid in orphans)
            assert (again.postgres.port, again.kafka.port, again.s3.ports) == ports
            assert BUCKET in [bucket.get("Name") for bucket in again.s3.client(attempts=5).list_buckets()["Buckets"]]


def test_a_pid_used_again_is_not_touched() -> None:
    stranger = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        known = identity(stranger.pid)
        assert known is not None
        end_group(stranger.pid, f"{known}0", signal.SIGKILL, patience_seconds=0)
        assert stranger.poll() is None
        end_group(stranger.pid, known, signal.SIGKILL, patience_seconds=0)
        assert stranger.wait(10) == -signal.SIGKILL
        assert identity(stranger.pid) is None
    finally:
        stranger.kill()
        stranger.communicate()
