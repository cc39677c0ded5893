"""The whole platform of a home: healed, cleaned up after, and its errors."""

import json
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from typer.testing import CliRunner

from stratum.cli.main import app
from stratum.local import platform as module
from stratum.local.errors import DiskFull, HomeUnusable, LocalError, ServiceFailed, SettingInvalid, StateUnreadable
from stratum.local.platform import Platform
from stratum.local.roles import ROLES, default_max_jobs
from tests.e2e.platform import wait_for

PARTS = {"api", "relay", "reconcile", "webhooks", "launcher", "postgres", "kafka", "s3"}


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    platform = Platform(tmp_path_factory.mktemp("home"))
    try:
        platform.up()
        yield platform
    finally:
        platform.down()


def test_up_again_changes_nothing(platform: Platform) -> None:
    first = platform.up()
    assert platform.up() == first
    assert set(first) == {"url", "token", "data_dir", "s3", "kafka", "database_url", "pids"}
    assert set(first["s3"]) == {"endpoint", "bucket", "access_key", "secret_key"}
    assert set(first["kafka"]) == {"bootstrap"}
    assert set(first["pids"]) == PARTS
    answer = httpx.get(f"{first['url']}/v1/actions", headers={"Authorization": f"Bearer {first['token']}"})
    assert answer.status_code == 200


def test_status_and_state_file(platform: Platform) -> None:
    status = platform.status()
    assert status["state"] == "up"
    assert {name: part["state"] for name, part in status["parts"].items()} == dict.fromkeys(PARTS, "running")
    kept = platform.home / "platform.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert json.loads(kept.read_text())["url"] == status["url"]


def test_a_second_tenant(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRATUM_HOME", str(platform.home))
    create = ["tenants", "create", "acme", "--local", "--max-held", "5", "--json"]
    made = json.loads(CliRunner().invoke(app, create).stdout)
    assert (made["bucket"], made["prefix"], made["changed"]) == ("stratum-acme", "acme/", True)
    kept = Path(made["key_file"])
    assert (kept.read_text(), stat.S_IMODE(kept.stat().st_mode)) == (made["key"], 0o600)
    quota = httpx.get(f"{made['url']}/v1/quota", headers={"Authorization": f"Bearer {made['key']}"})
    assert (quota.status_code, quota.json()["held"]["limit"]) == (200, 5)
    again = json.loads(CliRunner().invoke(app, create).stdout)
    assert again == {**made, "key": None, "changed": False}, "the key is shown once"
    inside = CliRunner().invoke(app, ["tenants", "create", "other", "--local", "--bucket", "stratum"])
    assert inside.exit_code == 1
    assert "lie inside one another" in inside.stderr
    assert not (kept.parent / "other-api-key").exists()


def test_a_part_that_was_stopped_is_healed(platform: Platform) -> None:
    before = platform.up()
    platform._supervisor.stop("api", "s3")
    assert platform.status()["state"] == "degraded"
    after = platform.up()
    assert {name for name in PARTS if before["pids"][name] != after["pids"][name]} == {"api", "s3"}
    assert {**after, "pids": None} == {**before, "pids": None}


def test_after_the_supervisor_was_killed_up_leaves_one_of_each(platform: Platform) -> None:
    before = platform.up()
    daemon = psutil.Process(before["pids"]["api"]).ppid()
    os.kill(daemon, signal.SIGKILL)
    wait_for(lambda: not psutil.pid_exists(daemon), 10, lambda: "the supervisor to be gone")
    assert platform.status()["state"] == "down"

    # Two at once: the second waits, then finds all of it up.
    told: list[str] = []
    other = threading.Thread(target=lambda: told.append(str(Platform(platform.home).up())))
    other.start()
    after = platform.up()
    other.join()
    assert told == [str(after)]
    assert not [pid for pid in before["pids"].values() if psutil.pid_exists(pid)]
    assert {**after, "pids": None} == {**before, "pids": None}


@pytest.mark.parametrize("value", ["0", "-1", "many", "1.5"])
def test_a_wrong_number_of_jobs_is_refused(platform: Platform, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("STRATUM_MAX_LOCAL_JOBS", value)
    services, installation = platform._parts(print)
    with pytest.raises(SettingInvalid, match="STRATUM_MAX_LOCAL_JOBS"):
        installation.environment(services)


@pytest.mark.parametrize(("cores", "gib", "jobs"), [(1, 1, 1), (2, 24, 2), (8, 8, 4), (64, 16, 8)])
def test_jobs_at_once(cores: int, gib: int, jobs: int) -> None:
    assert default_max_jobs(cores, gib << 30) == jobs


@pytest.mark.parametrize("text", ["{", "{}", '{"version": 2}'])
def test_state_of_another_version_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "platform.json").write_text(text)
    with pytest.raises(StateUnreadable, match=r"platform\.json cannot be used"):
        Platform(tmp_path).up()
    assert (tmp_path / "platform.json").read_text() == text


def test_a_full_disk_is_said_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEAST_FREE_BYTES", 1 << 60)
    with pytest.raises(DiskFull, match="MiB are free"):
        Platform(tmp_path).up()
    assert not (tmp_path / "postgres").exists()


def test_a_home_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HomeUnusable, match="STRATUM_HOME"):
        Platform(tmp_path / "file" / "home").up()


def test_down_where_nothing_ever_was(tmp_path: Path) -> None:
    Platform(tmp_path / "nowhere").down()
    assert not (tmp_path / "nowhere").exists()


def test_every_error_says_what_to_do() -> None:
    assert all(issubclass(kind, LocalError) for kind in (DiskFull, ServiceFailed, SettingInvalid, StateUnreadable))
    error = DiskFull("It is full.", "Make room.")
    assert (error.message, error.remedy, str(error)) == ("It is full.", "Make room.", "It is full. Make room.")


def test_roles_are_started_without_secrets_on_the_command_line(platform: Platform) -> None:
    document = platform.up()
    secrets = (document["token"], document["s3"]["secret_key"], document["database_url"])
    lines = [" ".join(psutil.Process(document["pids"][role]).cmdline()) for role in ROLES]
    assert all(secret not in line for secret in secrets for line in lines)
    listing = subprocess.run([sys.executable, "-m", "stratum.local.jars", "check"], capture_output=True, text=True, check=False)
    assert listing.returncode == 0, listing.stderr


def test_down_leaves_no_process_and_an_up_that_fails_does_neither(
    platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon = psutil.Process(psutil.Process(platform.up()["pids"]["api"]).ppid())
    everyone = [daemon, *daemon.children(recursive=True)]
    platform.down()
    wait_for(lambda: not any(process.is_running() for process in everyone), 10, lambda: f"{everyone} to be gone")
    assert platform.status()["state"] == "down"

    (tmp_path / "broken.yaml").write_text("name: [")
    monkeypatch.setenv("STRATUM_CATALOG_DIR", str(tmp_path))
    with pytest.raises(ServiceFailed, match=r"The end of its log:(.|\n)*broken\.yaml"):
        platform.up()
    assert platform.status()["state"] == "down"
    assert not [process for process in psutil.process_iter(["cwd"]) if (process.info["cwd"] or "").startswith(str(platform.home))]
