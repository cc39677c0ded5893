"""Find a Java runtime that both Spark 4.1 and Kafka 4.1 support, or install one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from stratum.local.errors import JavaMissing

SUPPORTED_MAJORS = (17, 21)
JVM_FOLDERS = (Path("/usr/lib/jvm"), Path("/usr/java"), Path("/opt/java"), Path("/Library/Java/JavaVirtualMachines"))

Progress = Callable[[str], None]


@dataclass(frozen=True)
class PackageManager:
    """How a system installs a runtime without a desktop. A release of it may have only one of the packages."""

    packages: tuple[str, ...]
    install: tuple[str, ...]
    refresh: tuple[str, ...] = ()

    def commands(self, package: str) -> list[tuple[str, ...]]:
        """What installs one of the packages."""
        return [command for command in (self.refresh, (*self.install, package)) if command]


MANAGERS = {
    "apt-get": PackageManager(
        ("openjdk-17-jre-headless", "openjdk-21-jre-headless"),
        # another installation may be under way, as on a machine that has just been started
        ("apt-get", "install", "-q", "-y", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300"),
        refresh=("apt-get", "update", "-q"),
    ),
    "dnf": PackageManager(("java-17-openjdk-headless", "java-21-openjdk-headless"), ("dnf", "install", "-q", "-y")),
    "apk": PackageManager(("openjdk17-jre-headless", "openjdk21-jre-headless"), ("apk", "add", "-q")),
}
"""Used as root only."""


@dataclass(frozen=True)
class Java:
    """One Java installation: its home folder and major version."""

    home: Path
    major: int

    @property
    def binary(self) -> Path:
        """The program `java`."""
        return self.home / "bin" / "java"


def find_java(candidates: Iterator[Path] | None = None) -> Java | None:
    """The first usable Java among `candidates` (homes; default: JAVA_HOME, PATH, the usual folders), or None."""
    for home in candidates if candidates is not None else candidate_homes():
        major = java_major(home / "bin" / "java")
        if major in SUPPORTED_MAJORS:
            return Java(home, major)
    return None


def ensure_java(progress: Progress) -> Java:
    """The Java to use; installs one when there is none and this process may.

    Raises:
        JavaMissing: none was found and none could be installed.
    """
    java = find_java()
    if java is None:
        install_java(progress)
        java = find_java()
    if java is None:
        raise JavaMissing(f"No Java {_supported()} was found.", _manual_remedy())
    return java


def install_java(progress: Progress) -> None:
    """Install a Java with the system's package manager.

    Raises:
        JavaMissing: not root, no known package manager, or it failed.
    """
    manager = next((manager for name, manager in MANAGERS.items() if shutil.which(name)), None)
    if manager is None or os.geteuid() != 0:
        raise JavaMissing(f"No Java {_supported()} was found.", _manual_remedy(manager))
    failures = []
    for package in manager.packages:
        failure = next(filter(None, (_failure(command, progress) for command in manager.commands(package))), None)
        if failure is None:
            return
        failures.append(failure)
    raise JavaMissing("; ".join(dict.fromkeys(failures)), _manual_remedy(manager))


def _failure(command: tuple[str, ...], progress: Progress) -> str | None:
    """Run a command; why it failed, if it did."""
    progress(f"no Java {_supported()} found: {' '.join(command)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return None
    return f"`{' '.join(command)}` failed: {' '.join((done.stderr or done.stdout).split()[-60:])}"


def candidate_homes() -> Iterator[Path]:
    """Folders that may be a Java home, most explicit first."""
    if home := os.environ.get("JAVA_HOME"):
        yield Path(home)
    if on_path := shutil.which("java"):
        yield Path(on_path).resolve().parent.parent
    for folder in JVM_FOLDERS:
        for home_folder in sorted(folder.glob("*")):
            yield home_folder
            yield home_folder / "Contents" / "Home"


def java_major(binary: Path) -> int | None:
    """Major version that `binary -version` reports; None when it is not there, does not run, or is no Java."""
    if not os.access(binary, os.X_OK):
        return None
    try:
        done = subprocess.run([binary, "-version"], capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    # Up to Java 8 the version reads "1.8.0"; since Java 9 it begins with the major.
    found = re.search(r'version "(?:1\.)?(\d+)', done.stderr + done.stdout)
    return int(found[1]) if done.returncode == 0 and found else None


def _supported() -> str:
    return " or ".join(str(major) for major in SUPPORTED_MAJORS)


def _manual_remedy(manager: PackageManager | None = None) -> str:
    command = " && ".join(f"sudo {' '.join(line)}" for line in manager.commands(manager.packages[0])) if manager else ""
    how = f"run `{command}`" if command else "install OpenJDK 17 (a headless runtime is enough)"
    return f"Please {how}, or point JAVA_HOME at a Java {_supported()}; then try again."
