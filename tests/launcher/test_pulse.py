"""Whether the launcher's loops turn, as its liveness probe asks."""

import threading
from pathlib import Path

import pytest

from contracts.pulse import Pulse
from launcher.assembly import Connections, connections, observer, submit_roles
from launcher.job import Job
from launcher.log_shipping import LogShipper
from launcher.process.backend import ProcessBackend
from launcher.settings import LocalSettings, load
from tests.launcher.kafka_probe import KafkaProbe
from tests.launcher.launcher_program import launch_program
from tests.launcher.samples import eventually
from tests.launcher.stub_api import Api


@pytest.fixture
def settings(tmp_path: Path, kafka: KafkaProbe, api: Api, monkeypatch: pytest.MonkeyPatch) -> LocalSettings:
    environment = {
        "STRATUM_KAFKA_BOOTSTRAP": kafka.bootstrap,
        "STRATUM_TOPIC_PREFIX": kafka.topics.prefix,
        "STRATUM_CLUSTER": "here",
        "STRATUM_JWKS_URL": api.jwks_url,
        "STRATUM_CALLBACK_BASE_URL": api.base_url,
        "STRATUM_LAUNCHER_BACKEND": "process",
        "STRATUM_JOBS_DIR": str(tmp_path / "jobs"),
        "STRATUM_MAX_LOCAL_JOBS": "1",
        "STRATUM_SPARK_JARS_DIR": str(tmp_path),
        "JAVA_HOME": str(tmp_path),
        "STRATUM_S3_ENDPOINT": "http://127.0.0.1:1",
        "STRATUM_S3_ACCESS_KEY": "key",
        "STRATUM_S3_SECRET_KEY": "secret",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return load(LocalSettings)


def test_every_loop_beats_and_one_that_hangs_is_named(settings: LocalSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    hang, stop = threading.Event(), threading.Event()

    def hangs(_: float) -> list[Job]:
        hang.wait()
        return []

    pulse = Pulse(patience_seconds=-10_000)  # less than nothing: whatever beats is shown
    with (
        connections(settings) as real,
        ProcessBackend.open(settings.jobs_dir, 1, launch_program, grace_seconds=1) as backend,
    ):
        shared = Connections(real.publisher, real.http, pulse)
        observing = observer(settings, backend, shared, lambda _: None, lambda _: True)
        shipper = LogShipper(backend, None, lambda: pulse.beat("ship-logs"))  # type: ignore[arg-type]  # no job, so nothing to ship
        roles = {**submit_roles(settings, backend, shared), "observe": observing.run, "ship-logs": shipper.run}
        threads = [threading.Thread(target=role, args=(stop,)) for role in roles.values()]
        for thread in threads:
            thread.start()
        try:
            eventually(lambda: pulse.stuck() == ["cancel", "observe", "ship-logs", "submit"], "all loops")
            monkeypatch.setattr(backend, "changes", hangs)
            pulse.patience_seconds = 5
            eventually(lambda: pulse.stuck() == ["observe"], "the loop that hangs", timeout=30)
        finally:
            hang.set()
            stop.set()
            for thread in threads:
                thread.join()
