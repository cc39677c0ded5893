"""The command line of a local driver."""

import os
import subprocess
from pathlib import Path

import pytest

from launcher.errors import LauncherError
from launcher.process.folder import JobFolder
from launcher.process.spark_submit import LocalShape, SparkSubmit, application_file, java_of, local_shape
from launcher.settings import LocalSettings, SettingsError, load
from tests.launcher.samples import RESOURCES, a_spec

ENVIRONMENT = {
    "STRATUM_KAFKA_BOOTSTRAP": "127.0.0.1:9092",
    "STRATUM_CLUSTER": "local",
    "STRATUM_JWKS_URL": "http://127.0.0.1:8000/.well-known/jwks.json",
    "STRATUM_CALLBACK_BASE_URL": "http://127.0.0.1:8000/",
    "STRATUM_LAUNCHER_BACKEND": "process",
    "STRATUM_MAX_LOCAL_JOBS": "2",
    "STRATUM_S3_ENDPOINT": "http://127.0.0.1:8333",
    "STRATUM_S3_ACCESS_KEY": "access",
    "STRATUM_S3_SECRET_KEY": "s3cr3t",
    "STRATUM_DATABASE_URL": "postgresql://not-for-jobs",
}


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalSettings:
    jars = tmp_path / "jars"
    jars.mkdir()
    (jars / "some.jar").touch()
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("STRATUM_JOBS_DIR", str(tmp_path / "jobs"))
    monkeypatch.setenv("STRATUM_SPARK_JARS_DIR", str(jars))
    monkeypatch.setenv("JAVA_HOME", os.environ.get("JAVA_HOME") or _java_home())
    return load(LocalSettings)


def _java_home() -> str:
    shown = subprocess.run(["java", "-XshowSettings:properties", "-version"], capture_output=True, text=True, check=True).stderr
    return next(line.split("=")[1].strip() for line in shown.splitlines() if "java.home" in line)


def test_missing_and_wrong_settings_are_all_named(settings: LocalSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STRATUM_KAFKA_BOOTSTRAP")
    monkeypatch.delenv("JAVA_HOME")
    monkeypatch.setenv("STRATUM_MAX_LOCAL_JOBS", "none")
    monkeypatch.setenv("STRATUM_JWKS_URL", "ftp://x")
    with pytest.raises(SettingsError) as error:
        load(LocalSettings)
    for name in ("STRATUM_KAFKA_BOOTSTRAP", "JAVA_HOME", "STRATUM_MAX_LOCAL_JOBS", "STRATUM_JWKS_URL"):
        assert name in str(error.value)


def test_launch(settings: LocalSettings, tmp_path: Path) -> None:
    folder = JobFolder(tmp_path / "job")
    launch = SparkSubmit(settings, tmp_path / "archives")(a_spec(), folder)
    line = list(launch.arguments)
    assert line[0] == f"{settings.java_home}/bin/java"
    assert line[-3:] == ["run", "--command", str(folder.command_file)]
    assert line[-4].endswith("spark_jobs/__main__.py")
    class_path = line[line.index("-cp") + 1]
    assert f"{settings.spark_jars_dir}/*" in class_path
    assert f"spark.local.dir={folder.scratch}" in line
    assert "--add-opens=java.base/java.nio=ALL-UNNAMED" in line
    assert not {"s3cr3t", "secret-token"} & set(" ".join(line).split("="))
    assert "s3cr3t" not in " ".join(line)
    assert launch.environment["STRATUM_S3_SECRET_KEY"] == "s3cr3t"
    assert "STRATUM_DATABASE_URL" not in launch.environment


def test_no_jars_is_told(settings: LocalSettings, tmp_path: Path) -> None:
    (settings.spark_jars_dir / "some.jar").unlink()
    with pytest.raises(LauncherError, match="STRATUM_SPARK_JARS_DIR"):
        SparkSubmit(settings, tmp_path)(a_spec(), JobFolder(tmp_path))


@pytest.mark.parametrize(
    ("slots", "cores", "memory", "shape"),
    [
        (1, 8, 65536, LocalShape(2, 3072)),
        (1, 1, 65536, LocalShape(1, 3072)),
        (4, 8, 8192, LocalShape(2, 1536)),
        (16, 8, 1024, LocalShape(2, 512)),
    ],
)
def test_local_shape(slots: int, cores: int, memory: int, shape: LocalShape) -> None:
    assert local_shape(RESOURCES, slots, cores, memory) == shape


def test_entry_points() -> None:
    assert application_file("spark_jobs").name == "__main__.py"
    assert application_file("spark_jobs.cli").name == "cli.py"
    for unknown in ("no_such_module", "spark_jobs.nothing", "../etc", "", "spark_jobs/__main__"):
        with pytest.raises(LauncherError, match="entry point"):
            application_file(unknown)


def test_output_of_sparks_launcher() -> None:
    output = b"\0\njava\0-cp\0a:b\0-Xmx1g\0-Da=b c\0org.apache.spark.deploy.SparkSubmit\0application.py\0"
    assert java_of(output) == ["java", "-cp", "a:b", "-Da=b c"]
    with pytest.raises(LauncherError):
        java_of(b"Error: could not find or load main class")
