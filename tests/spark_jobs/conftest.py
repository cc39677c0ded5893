"""One Spark session for all tests of the jobs; a storage root and a callback server for each."""

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest
from botocore.config import Config
from pyspark.sql import SparkSession

from contracts.command import Command
from contracts.layout import StorageRoot
from contracts.spark_conf import spark_conf
from spark_jobs.session import start_session
from stratum.local.jars import fetch
from stratum.local.java import Java, ensure_java
from tests.services import Services
from tests.spark_jobs import control_plane

BUCKET = "spark-jobs"
ROOT = Path(__file__).parents[2]
QUICK_START = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
"""Tests are short: compiling more than the first tier costs more than it gives."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """PySpark leaves it to the garbage collector to close the sockets through which it collects rows."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"))


@pytest.fixture(scope="session")
def java() -> Java:
    return ensure_java(print)


@pytest.fixture(scope="session")
def jars(java: Java) -> Path:
    return fetch("s3a", java)


@pytest.fixture(scope="session")
def s3(services: Services) -> Any:
    client = boto3.client(
        "s3",
        endpoint_url=services.s3_endpoint,
        region_name="us-east-1",
        aws_access_key_id=services.s3_access_key,
        aws_secret_access_key=services.s3_secret_key,
        config=Config(
            s3={"addressing_style": "path"}, request_checksum_calculation="when_required", response_checksum_validation="when_required"
        ),
    )
    client.create_bucket(Bucket=BUCKET)
    return client


@pytest.fixture(scope="session")
def spark(java: Java, jars: Path, services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    os.environ["JAVA_HOME"] = str(java.home)
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    local = {
        "spark.master": "local[2]",
        "spark.driver.extraJavaOptions": QUICK_START,
        "spark.driver.extraClassPath": f"{jars}/*",
        "spark.sql.warehouse.dir": str(tmp_path_factory.mktemp("warehouse")),
    }
    conf = spark_conf(services.s3_endpoint, "us-east-1", shuffle_partitions=3) | local
    session = start_session("tests", conf, access_key=services.s3_access_key, secret_key=services.s3_secret_key)
    yield session
    session.stop()
    gc.collect()  # now, while the warnings about PySpark's own sockets are still ignored


@pytest.fixture
def root(s3: Any) -> StorageRoot:
    # A prefix, not a bucket: SeaweedFS gives every bucket volumes of its own, and soon has no more.
    return StorageRoot(BUCKET, f"{uuid4().hex}/")


@pytest.fixture
def callbacks(root: StorageRoot) -> Iterator[control_plane.CallbackServer]:
    with control_plane.serving(control_plane.CallbackServer(storage_root=root.uri)) as server:
        yield server


@dataclass(frozen=True)
class Submitter:
    """Starts drivers as the launcher does: `spark-submit` with the command in a file."""

    java: Java
    jars: Path
    services: Services
    folder: Path

    @contextmanager
    def start(self, command: Command, *more: str, **environment: str) -> "Iterator[subprocess.Popen[str]]":
        file = self.folder / f"{uuid4()}.json"
        file.write_text(command.model_dump_json())
        submit = [str(Path(sys.executable).with_name("spark-submit")), "--master", "local[2]", "--driver-memory", "512m"]
        submit += ["--driver-java-options", QUICK_START]
        submit += ["--driver-class-path", f"{self.jars}/*", str(ROOT / "spark_jobs" / "__main__.py"), "run", "--command", str(file), *more]
        local = {"JAVA_HOME": str(self.java.home), "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
        with subprocess.Popen(
            submit,
            env=os.environ | local | self._storage() | environment,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                yield process
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)

    def _storage(self) -> dict[str, str]:
        return {
            "STRATUM_S3_ENDPOINT": self.services.s3_endpoint,
            "STRATUM_S3_ACCESS_KEY": self.services.s3_access_key,
            "STRATUM_S3_SECRET_KEY": self.services.s3_secret_key,
        }

    def run(self, command: Command, *more: str, **environment: str) -> tuple[int, str]:
        with self.start(command, *more, **environment) as process:
            output, _ = process.communicate(timeout=240)
            return process.returncode, output


@pytest.fixture
def submit(java: Java, jars: Path, services: Services, tmp_path: Path) -> Submitter:
    return Submitter(java, jars, services, tmp_path)
