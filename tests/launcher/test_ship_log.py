"""The log sidecar as a pod runs it: a process that is told a file, a prefix of the store, and by SIGTERM that the driver has ended."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from contracts.layout import LOG_END_NAME
from launcher.log_chunks import CHUNK_BYTES, LogChunks
from launcher.ship_log import follow
from stratum.local.ports import choose_port
from tests.figures import report
from tests.launcher.samples import eventually
from tests.launcher.wire import Wire
from tests.services import Services

PREFIX = "acme/_logs/0192614e-6f00-7a3c-9b1d-5e8f2a4c7d10/0/1/"


class Pod:
    """What the sidecar shares with the driver, and what lies in the store."""

    def __init__(self, folder: Path, services: Services, client: Any, bucket: str) -> None:
        self.file = folder / "driver.log"
        self.client = client
        self.bucket = bucket
        self.environment = {
            "PATH": os.environ["PATH"],
            "STRATUM_LOG_FILE": str(self.file),
            "STRATUM_LOG_PREFIX": f"s3://{bucket}/{PREFIX}",
            "STRATUM_S3_ENDPOINT": services.s3_endpoint,
            "STRATUM_S3_ACCESS_KEY": services.s3_access_key,
            "STRATUM_S3_SECRET_KEY": services.s3_secret_key,
        }

    def write(self, text: bytes) -> None:
        with self.file.open("ab") as file:
            file.write(text)

    def objects(self) -> dict[str, bytes]:
        found = self.client.list_objects_v2(Bucket=self.bucket, Prefix=PREFIX).get("Contents", ())
        keys = sorted(item["Key"] for item in found)
        return {key.removeprefix(PREFIX): self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read() for key in keys}

    def text(self) -> bytes:
        return b"".join(self.objects().values())

    @contextmanager
    def sidecar(self) -> Iterator["subprocess.Popen[bytes]"]:
        with subprocess.Popen([sys.executable, "-m", "launcher", "ship-log"], env=self.environment, stderr=subprocess.PIPE) as process:
            try:
                yield process
            finally:
                process.kill()


@pytest.fixture
def pod(tmp_path: Path, services: Services, bucket: tuple[Any, str]) -> Pod:
    return Pod(tmp_path, services, *bucket)


def test_follows_the_driver_and_ships_the_rest_when_it_has_ended(pod: Pod) -> None:
    with pod.sidecar() as sidecar:
        pod.write(b"one\ntwo\n")  # the sidecar may be there before the file is
        eventually(lambda: pod.objects() == {"000000.log": b"one\ntwo\n"}, "the first lines", timeout=30)
        pod.write(b"three\nhalf a li")
        eventually(lambda: pod.text() == b"one\ntwo\nthree\n", "the third", timeout=30)
        sidecar.send_signal(signal.SIGTERM)
        assert sidecar.wait(20) == 0
    assert pod.objects() == {"000000.log": b"one\ntwo\n", "000001.log": b"three\n", "000002.log": b"half a li", LOG_END_NAME: b""}


def test_a_restarted_sidecar_goes_on_where_the_store_says(pod: Pod) -> None:
    pod.write(b"one\n")
    with pod.sidecar() as first:
        eventually(lambda: pod.text() == b"one\n", "the first line", timeout=30)
        first.kill()
    pod.write(b"two\n")
    with pod.sidecar() as second:
        eventually(lambda: pod.objects() == {"000000.log": b"one\n", "000001.log": b"two\n"}, "the second", timeout=30)
        second.send_signal(signal.SIGTERM)
        assert second.wait(20) == 0
    with pod.sidecar() as third:  # nothing is left to do
        assert third.wait(20) == 0
    assert set(pod.objects()) == {"000000.log", "000001.log", LOG_END_NAME}


def test_a_driver_that_never_started_has_an_empty_log(pod: Pod) -> None:
    with pod.sidecar() as sidecar:
        eventually(lambda: listens_to_sigterm(sidecar.pid), "it to be up", timeout=30)
        sidecar.send_signal(signal.SIGTERM)
        assert sidecar.wait(20) == 0
    assert pod.objects() == {LOG_END_NAME: b""}


def test_a_driver_that_ends_at_once_has_its_log(pod: Pod) -> None:
    """SIGTERM comes while the sidecar is still being imported."""
    pod.write(b"one\nhalf a li")
    command = [sys.executable, "-X", "importtime", "-m", "launcher", "ship-log"]
    with subprocess.Popen(command, env=pod.environment, stderr=subprocess.PIPE) as sidecar:
        assert sidecar.stderr
        first = next(line for line in sidecar.stderr if b"pydantic" in line or b"structlog" in line)
        sidecar.send_signal(signal.SIGTERM)
        rest = sidecar.stderr.read()
        assert sidecar.wait(20) == 0, first
    assert b"boto3" in rest
    assert pod.objects() == {"000000.log": b"one\n", "000001.log": b"half a li", LOG_END_NAME: b""}


def test_is_small_whatever_the_driver_writes(pod: Pod) -> None:
    """Memory of a sidecar is memory that every run pays for."""
    line = b"x" * 1023 + b"\n"
    begun = time.monotonic()
    with pod.sidecar() as sidecar:
        pod.write(line)
        eventually(lambda: pod.text() == line, "the first line", timeout=30)
        started = time.monotonic() - begun
        for _ in range(40):
            pod.write(line * 1024)
        eventually(lambda: len(pod.objects()) >= 40, "much output", timeout=60)
        peak = psutil.Process(sidecar.pid).memory_info().rss >> 20
        sidecar.send_signal(signal.SIGTERM)
        assert sidecar.wait(20) == 0
    assert pod.text() == line * (40 * 1024 + 1)
    report("log sidecar", f"{peak} MiB resident, first line in the store {started:.1f} s after its start")
    assert peak < 128


def test_wrong_settings_are_named(pod: Pod) -> None:
    environment = pod.environment | {"STRATUM_LOG_PREFIX": "s3://bucket/without-slash"}
    del environment["STRATUM_S3_ENDPOINT"]
    found = subprocess.run([sys.executable, "-m", "launcher", "ship-log"], env=environment, capture_output=True, text=True, timeout=60)
    assert found.returncode == 2
    assert "STRATUM_LOG_PREFIX" in found.stderr
    assert "STRATUM_S3_ENDPOINT" in found.stderr


def test_keeps_trying_when_the_store_is_away_and_the_driver_gone(pod: Pod) -> None:
    """What is not shipped now is lost with the pod."""
    address = urlsplit(pod.environment["STRATUM_S3_ENDPOINT"])
    assert address.hostname
    assert address.port
    port = choose_port(set())
    pod.environment["STRATUM_S3_ENDPOINT"] = f"http://127.0.0.1:{port}"
    pod.write(b"one\n" + b"y" * CHUNK_BYTES + b"\ntwo")
    with pod.sidecar() as sidecar:
        assert sidecar.stderr
        assert b"the log waits" in sidecar.stderr.readline()
        sidecar.send_signal(signal.SIGTERM)
        assert b"the log waits" in sidecar.stderr.readline()
        wire = Wire((address.hostname, address.port), port)
        assert sidecar.wait(20) == 0
        wire.close()
    assert pod.text() == pod.file.read_bytes()
    assert LOG_END_NAME in pod.objects()


def test_a_store_that_comes_back_gets_all(pod: Pod) -> None:
    missing = f"{pod.bucket}-later"
    pod.write(b"one\n")
    stop = Event()
    following = Thread(target=follow, args=(pod.file, LogChunks(pod.client, missing, PREFIX), stop))
    following.start()
    pod.write(b"two\n")
    pod.client.create_bucket(Bucket=missing)
    pod.bucket = missing
    eventually(lambda: pod.text() == b"one\ntwo\n", "what waited", timeout=30)
    stop.set()
    following.join(20)
    assert LOG_END_NAME in pod.objects()


def listens_to_sigterm(pid: int) -> bool:
    """Whether the process has a handler of its own for it."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = int(next(line for line in status.splitlines() if line.startswith("SigCgt:")).split()[1], 16)
    return bool(caught >> (signal.SIGTERM - 1) & 1)
