"""`python -m launcher` as it is started in earnest, `spark-submit` included."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from contracts.event import JobEnded
from tests.launcher.kafka_probe import KafkaProbe
from tests.launcher.samples import eventually
from tests.launcher.stub_api import Api
from tests.services import Services

DRIVER = """
import os, sys, time
from pathlib import Path

gate = Path(os.environ["HOME"]) / "gate"
print(sys.argv[1:2], sorted(name for name in os.environ if name.startswith("STRATUM_")), flush=True)
while not gate.exists():
    time.sleep(0.05)
"""


@pytest.fixture(scope="session")
def spark_jars() -> str:
    found = subprocess.run([sys.executable, "-m", "stratum.local.jars", "fetch", "s3a"], check=True, capture_output=True, text=True)
    return found.stdout.strip()


@pytest.fixture
def environment(tmp_path: Path, kafka: KafkaProbe, api: Api, services: Services, spark_jars: str) -> dict[str, str]:
    (tmp_path / "tiny_driver.py").write_text(DRIVER)
    java = os.environ.get("JAVA_HOME") or str(Path(subprocess.check_output(["which", "java"], text=True).strip()).resolve().parents[1])
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PYTHONPATH": str(tmp_path),
        "JAVA_HOME": java,
        "STRATUM_KAFKA_BOOTSTRAP": kafka.bootstrap,
        "STRATUM_TOPIC_PREFIX": kafka.topics.prefix,
        "STRATUM_CLUSTER": "here",
        "STRATUM_JWKS_URL": api.jwks_url,
        "STRATUM_CALLBACK_BASE_URL": api.base_url,
        "STRATUM_LAUNCHER_BACKEND": "process",
        "STRATUM_JOBS_DIR": str(tmp_path / "jobs"),
        "STRATUM_MAX_LOCAL_JOBS": "1",
        "STRATUM_SPARK_JARS_DIR": spark_jars,
        "STRATUM_S3_ENDPOINT": services.s3_endpoint,
        "STRATUM_S3_ACCESS_KEY": services.s3_access_key,
        "STRATUM_S3_SECRET_KEY": services.s3_secret_key,
        "STRATUM_DATABASE_URL": "postgresql://not-for-jobs",
    }


@contextmanager
def launcher(environment: dict[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen([sys.executable, "-m", "launcher", "local"], env=environment) as process:
        try:
            yield process
        finally:
            process.kill()


def stop_jobs(environment: dict[str, str]) -> str:
    command = [sys.executable, "-m", "launcher", "stop-jobs"]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stderr


def test_job_outlives_a_stopped_launcher(
    environment: dict[str, str], tmp_path: Path, kafka: KafkaProbe, api: Api, bucket: tuple[Any, str]
) -> None:
    client, name = bucket
    api.up = False  # started before the API is there
    command = api.command(entry_point="tiny_driver", storage_root=f"s3://{name}")
    driver_log = tmp_path / "jobs" / f"stratum-{command.process_id.hex}-0-1" / "driver.log"
    with launcher(environment) as process:
        kafka.send(kafka.topics.commands, command.model_dump_json().encode())
        api.up = True
        eventually(lambda: driver_log.exists() and "run" in driver_log.read_text(), "the driver", timeout=60)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    (tmp_path / "gate").touch()
    with launcher(environment):
        events = kafka.until_events(lambda events: any(isinstance(event, JobEnded) for event in events), timeout=60)
        prefix = f"_logs/{command.process_id}/0/1/"
        eventually(lambda: "Contents" in client.list_objects_v2(Bucket=name, Prefix=f"{prefix}complete"), "the whole log", timeout=30)
    assert [event.type for event in events if event.type in ("submitted", "ended", "refused")] == ["submitted", "ended"]
    assert [event.outcome for event in events if isinstance(event, JobEnded)] == ["completed"]
    keys = [item["Key"] for item in client.list_objects_v2(Bucket=name, Prefix=prefix)["Contents"]]
    text = b"".join(client.get_object(Bucket=name, Key=key)["Body"].read() for key in keys).decode()
    line = next(line for line in text.splitlines() if line.startswith("['run']"))
    assert "STRATUM_S3_SECRET_KEY" in line
    assert "STRATUM_DATABASE_URL" not in line


def test_stop_jobs(environment: dict[str, str], tmp_path: Path, kafka: KafkaProbe, api: Api) -> None:
    command = api.command(entry_point="tiny_driver")
    with launcher(environment) as process:
        kafka.send(kafka.topics.commands, command.model_dump_json().encode())
        kafka.until_events(lambda events: any(event.type == "submitted" for event in events), timeout=60)
        eventually(lambda: list((tmp_path / "jobs").glob("*/start.json")), "the wrapper")
        process.kill()
    assert stop_jobs(environment) == "1 running jobs were ended\n"
    assert stop_jobs(environment) == "0 running jobs were ended\n"


@pytest.mark.parametrize(
    ("name", "value"), [("STRATUM_JWKS_URL", None), ("STRATUM_MAX_LOCAL_JOBS", "0"), ("STRATUM_CATALOG_DIR", "/nowhere")]
)
def test_cannot_start(environment: dict[str, str], name: str, value: str | None) -> None:
    changed = environment | {name: value} if value is not None else {key: each for key, each in environment.items() if key != name}
    found = subprocess.run([sys.executable, "-m", "launcher", "local"], env=changed, capture_output=True, text=True, timeout=60)
    assert found.returncode == 2
    assert (value if name.endswith("DIR") else name) in found.stderr
    assert "Traceback" not in found.stderr
