"""Driver output in the object store."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from contracts.layout import LOG_END_NAME, StorageRoot
from launcher.errors import StorageUnavailable
from launcher.job import Ended, JobSpec
from launcher.log_chunks import CHUNK_BYTES
from launcher.log_shipping import LogShipper
from launcher.process.backend import ProcessBackend
from launcher.process.ending import stop_jobs
from tests.launcher.launcher_program import launch_program
from tests.launcher.samples import a_spec, eventually


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[ProcessBackend]:
    with ProcessBackend.open(tmp_path / "jobs", 2, launch_program, grace_seconds=1) as backend:
        yield backend
    stop_jobs(tmp_path / "jobs", "the test is over", 0.2)


class Store:
    def __init__(self, client: Any, bucket: str) -> None:
        self.client = client
        self.root = StorageRoot(bucket, "tenants/acme/")

    def objects(self, spec: JobSpec) -> dict[str, bytes]:
        command = spec.command
        prefix = self.root.log_prefix(command.process_id, command.step, command.attempt)
        found = self.client.list_objects_v2(Bucket=self.root.bucket, Prefix=prefix).get("Contents", ())
        keys = [item["Key"] for item in found]
        return {key.removeprefix(prefix): self.client.get_object(Bucket=self.root.bucket, Key=key)["Body"].read() for key in sorted(keys)}


@pytest.fixture
def store(bucket: tuple[Any, str]) -> Store:
    return Store(*bucket)


def ended(backend: ProcessBackend, spec: JobSpec) -> bool:
    backend.changes(0)
    return any(job.name == spec.name and isinstance(job.state, Ended) for job in backend.jobs())


def printed(backend: ProcessBackend, spec: JobSpec, text: bytes) -> bool:
    backend.changes(0)
    return text in backend.read_log(spec.attempt, 0, 1000)


def a_growing_job(backend: ProcessBackend, store: Store, tmp_path: Path) -> JobSpec:
    """It has printed two lines and waits for the file `gate`."""
    spec = a_spec({"lines": ["one", "two"], "seconds": 60, "until_file": str(tmp_path / "gate")}, storage_root=store.root.uri)
    backend.submit(spec)
    eventually(lambda: printed(backend, spec, b"two\n"), "its output")
    return spec


def test_grows_chunk_by_chunk_and_is_marked_complete(backend: ProcessBackend, store: Store, tmp_path: Path) -> None:
    shipper = LogShipper(backend, store.client)
    spec = a_growing_job(backend, store, tmp_path)
    shipper.ship_all()
    assert store.objects(spec) == {"000000.log": b"one\ntwo\n"}
    shipper.ship_all()
    assert len(store.objects(spec)) == 1
    with (tmp_path / "jobs" / spec.name / "driver.log").open("ab") as log:
        log.write(b"three\nhalf a li")
    shipper.ship_all()
    assert store.objects(spec)["000001.log"] == b"three\n"
    assert not shipper.is_complete(spec.name)
    (tmp_path / "gate").touch()
    eventually(lambda: ended(backend, spec), "the end")
    shipper.ship_all()
    assert store.objects(spec) == {"000000.log": b"one\ntwo\n", "000001.log": b"three\n", "000002.log": b"half a li", LOG_END_NAME: b""}
    assert shipper.is_complete(spec.name)


def test_goes_on_after_a_restart(backend: ProcessBackend, store: Store, tmp_path: Path) -> None:
    spec = a_growing_job(backend, store, tmp_path)
    LogShipper(backend, store.client).ship_all()
    (tmp_path / "gate").touch()
    with (tmp_path / "jobs" / spec.name / "driver.log").open("ab") as log:
        log.write(b"three\n")
    eventually(lambda: ended(backend, spec), "the end")
    LogShipper(backend, store.client).ship_all()
    again = LogShipper(backend, store.client)
    again.ship_all()
    assert again.is_complete(spec.name)
    assert store.objects(spec) == {"000000.log": b"one\ntwo\n", "000001.log": b"three\n", LOG_END_NAME: b""}


def test_long_output_is_cut(backend: ProcessBackend, store: Store) -> None:
    lines = [f"{number:07d} {'x' * 90}" for number in range(25_000)]
    spec = a_spec({"lines": ["\n".join(lines)]}, storage_root=store.root.uri)
    backend.submit(spec)
    eventually(lambda: ended(backend, spec), "the end")
    LogShipper(backend, store.client).ship_all()
    chunks = [body for name, body in store.objects(spec).items() if name != LOG_END_NAME]
    assert len(chunks) == 3
    assert all(len(chunk) <= CHUNK_BYTES and chunk.endswith(b"\n") for chunk in chunks)
    assert b"".join(chunks).decode().splitlines() == lines


def test_never_rewrites(backend: ProcessBackend, store: Store, tmp_path: Path) -> None:
    """Two shippers at once: what one has put, the other neither replaces nor repeats."""
    first, second = LogShipper(backend, store.client), LogShipper(backend, store.client)
    spec = a_growing_job(backend, store, tmp_path)
    second.ship_all()
    first.ship_all()
    with (tmp_path / "jobs" / spec.name / "driver.log").open("ab") as log:
        log.write(b"three\n")
    first.ship_all()
    with (tmp_path / "jobs" / spec.name / "driver.log").open("ab") as log:
        log.write(b"four\n")
    second.ship_all()  # finds its next number taken
    second.ship_all()
    assert b"".join(store.objects(spec).values()) == b"one\ntwo\nthree\nfour\n"
    (tmp_path / "gate").touch()


def test_one_missing_bucket_does_not_hold_up_the_others(backend: ProcessBackend, store: Store) -> None:
    lost = a_spec(storage_root="s3://no-such-bucket-anywhere")
    fine = a_spec(storage_root=store.root.uri)
    for spec in (lost, fine):
        backend.submit(spec)
        eventually(lambda spec=spec: ended(backend, spec), "the end")
    shipper = LogShipper(backend, store.client)
    shipper.ship_all()
    assert shipper.is_complete(fine.name)
    assert not shipper.is_complete(lost.name)


def test_store_that_is_away_is_told(backend: ProcessBackend, store: Store) -> None:
    spec = a_spec(storage_root=store.root.uri)
    backend.submit(spec)
    eventually(lambda: ended(backend, spec), "the end")
    config = Config(retries={"total_max_attempts": 1}, connect_timeout=1)
    nowhere = boto3.client(
        "s3", endpoint_url="http://127.0.0.1:9", region_name="x", aws_access_key_id="x", aws_secret_access_key="x", config=config
    )
    shipper = LogShipper(backend, nowhere)
    with pytest.raises(StorageUnavailable):
        shipper.ship_all()
    assert not shipper.is_complete(spec.name)
    nowhere.close()
