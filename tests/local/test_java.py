"""Which Java is chosen, and what is said when there is none."""

import stat
from pathlib import Path

import pytest

from stratum.local import java
from stratum.local.errors import JavaMissing


def home_with(folder: Path, script: str) -> Path:
    """A Java home whose `java` is a shell script."""
    binary = folder / "bin" / "java"
    binary.parent.mkdir(parents=True)
    binary.write_text(f"#!/bin/sh\n{script}\n")
    binary.chmod(binary.stat().st_mode | stat.S_IXUSR)
    return folder


def says(version: str) -> str:
    return f"echo 'openjdk version \"{version}\" 2025-04-15' >&2"


@pytest.mark.parametrize(
    ("version", "major"),
    [("17.0.15", 17), ("21", 21), ("21.0.2", 21), ("1.8.0_402", 8), ("11.0.22", 11), ("25", 25), ("24-ea", 24)],
)
def test_reads_the_major_version(tmp_path: Path, version: str, major: int) -> None:
    assert java.java_major(home_with(tmp_path / "jdk", says(version)) / "bin" / "java") == major


def test_takes_the_first_supported_one(tmp_path: Path) -> None:
    homes = [home_with(tmp_path / version, says(version)) for version in ("25", "11.0.1", "21.0.2", "17.0.1")]
    assert java.find_java(iter(homes)) == java.Java(tmp_path / "21.0.2", 21)


@pytest.mark.parametrize("script", ["exit 1", "echo nonsense", says("17") + "; exit 3", "exec /nowhere"])
def test_a_broken_java_is_not_taken(tmp_path: Path, script: str) -> None:
    assert java.find_java(iter([home_with(tmp_path / "jdk", script), tmp_path / "missing"])) is None


def test_java_home_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = home_with(tmp_path / "jdk", says("21.0.2"))
    on_path = home_with(tmp_path / "other", says("17.0.1"))
    monkeypatch.setenv("JAVA_HOME", str(home))
    monkeypatch.setenv("PATH", str(on_path / "bin"))
    assert [java.find_java(), *list(java.candidate_homes())[:2]] == [java.Java(home, 21), home, on_path]


def test_without_java_and_without_rights_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setattr(java, "JVM_FOLDERS", ())
    monkeypatch.setattr(java.os, "geteuid", lambda: 1000)
    (tmp_path / "apt-get").write_text("#!/bin/sh\n")
    (tmp_path / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(JavaMissing, match=r"sudo apt-get install .*openjdk-17-jre-headless"):
        java.ensure_java(lambda _: None)


def root_has_apt_get(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    monkeypatch.setattr(java.os, "geteuid", lambda: 0)
    (folder / "apt-get").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_a_failed_installation_is_told_with_its_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    root_has_apt_get(tmp_path, monkeypatch, "echo 'Unable to locate package' >&2; exit 100")
    with pytest.raises(JavaMissing, match="Unable to locate package"):
        java.install_java(told.append)
    assert set(told) == {"no Java 17 or 21 found: apt-get update -q"}


def test_a_system_without_java_17_gets_21(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    root_has_apt_get(tmp_path, monkeypatch, "case \"$*\" in *openjdk-17*) echo 'Unable to locate package' >&2; exit 100 ;; esac")
    java.install_java(told.append)
    assert told[-1].endswith("openjdk-21-jre-headless")
