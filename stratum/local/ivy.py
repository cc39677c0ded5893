"""Run the Apache Ivy that PySpark brings along: Maven coordinates in, jar files out."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from xml.sax.saxutils import quoteattr

from stratum.local.errors import JarsUnavailable, PackageMissing
from stratum.local.java import Java

SETTINGS_VARIABLE = "STRATUM_IVY_SETTINGS"
DOWNLOAD_TIMEOUT_SECONDS = 900


@dataclass(frozen=True, order=True)
class Coordinates:
    """Where a jar lives in a Maven repository; `classifier` tells the tests of a library from the library."""

    group: str
    name: str
    version: str
    classifier: str = ""

    @classmethod
    def parse(cls, text: str) -> Coordinates:
        """From `group:name:version` or `group:name:version:classifier`."""
        group, name, version, *classifier = text.split(":")
        return cls(group, name, version, *classifier)

    def __str__(self) -> str:
        return ":".join(filter(None, (self.group, self.name, self.version, self.classifier)))

    @property
    def file_name(self) -> str:
        """Under which the jar is kept."""
        return "-".join(filter(None, (self.name, self.version, self.classifier))) + ".jar"


@dataclass(frozen=True)
class Dependency:
    """One thing to fetch: a jar alone, or with everything it needs at run time."""

    coordinates: Coordinates
    transitive: bool


def pyspark_jars() -> Path:
    """The folder of jars in the installed PySpark (found without importing it).

    Raises:
        PackageMissing: PySpark is not installed.
    """
    spec = find_spec("pyspark")
    if spec is None or not spec.submodule_search_locations:
        raise PackageMissing("PySpark is not installed.", "Install Stratum with its `local` extra.")
    return Path(spec.submodule_search_locations[0]) / "jars"


def retrieve(dependencies: Iterable[Dependency], java: Java, scratch: Path) -> dict[Coordinates, Path]:
    """Download `dependencies` into `scratch` (an empty folder) and return each jar found.

    The repositories are Ivy's own defaults, or those of the settings file named by `STRATUM_IVY_SETTINGS`.

    Raises:
        JarsUnavailable: Ivy could not resolve or download something.
    """
    wanted = list(dependencies)
    (scratch / "ivy.xml").write_text(_module(wanted))
    command = [str(java.binary), "-cp", str(_ivy_jar()), "org.apache.ivy.Main", "-ivy", str(scratch / "ivy.xml")]
    command += ["-settings", str(_settings(wanted, scratch)), "-cache", str(scratch / "cache"), "-warn"]
    command += ["-types", "jar", "bundle", "-retrieve", f"{scratch}/jars/[organisation]/[module]/[revision](:[classifier]).[ext]"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DOWNLOAD_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise JarsUnavailable(f"Fetching jars took over {DOWNLOAD_TIMEOUT_SECONDS} s.", _remedy()) from error
    if done.returncode != 0:
        raise JarsUnavailable(f"Ivy could not fetch the jars:\n{_complaints(done.stdout + done.stderr)}\n", _remedy())
    return {Coordinates(jar.parent.parent.name, jar.parent.name, *jar.stem.split(":")): jar for jar in scratch.glob("jars/*/*/*.jar")}


def _module(dependencies: list[Dependency]) -> str:
    """The ivy.xml that asks for `dependencies`; a POM's `master` is its jar, `runtime` what that needs."""
    lines = [
        f"<dependency org={quoteattr(d.coordinates.group)} name={quoteattr(d.coordinates.name)}"
        f' rev={quoteattr(d.coordinates.version)} transitive="{str(d.transitive).lower()}"'
        f' conf="{"default->master,runtime" if d.transitive else "default->master(*)"}">{_artifact(d.coordinates)}</dependency>'
        for d in dependencies
    ]
    return (
        '<ivy-module version="2.0" xmlns:m="http://ant.apache.org/ivy/maven"><info organisation="stratum" module="jars"/>'
        '<configurations><conf name="default"/></configurations>'
        f"<dependencies>{''.join(lines)}</dependencies></ivy-module>"
    )


def _artifact(coordinates: Coordinates) -> str:
    """Names the jar where it is not the module's main one."""
    if not coordinates.classifier:
        return ""
    return f'<artifact name={quoteattr(coordinates.name)} type="jar" ext="jar" m:classifier={quoteattr(coordinates.classifier)}/>'


def _settings(dependencies: list[Dependency], scratch: Path) -> Path:
    """The settings file to use: the operator's, or one that asks Ivy's default repository.

    When nothing is transitive the POMs are skipped: they and their parents are most of the requests. Ivy's own checksum
    files are skipped too, as every jar is compared with the sha256 in our lock.
    """
    if given := os.environ.get(SETTINGS_VARIABLE):
        if not Path(given).is_file():
            raise JarsUnavailable(f"{SETTINGS_VARIABLE} names {given}, which is no file.", "Correct or unset it.")
        return Path(given)
    use_poms = str(any(dependency.transitive for dependency in dependencies)).lower()
    settings = scratch / "ivysettings.xml"
    settings.write_text(
        '<ivysettings><settings defaultResolver="default"/><resolvers>'
        f'<ibiblio name="default" m2compatible="true" usepoms="{use_poms}" useMavenMetadata="false" checksums=""/>'
        "</resolvers></ivysettings>"
    )
    return settings


def _ivy_jar() -> Path:
    found = sorted(pyspark_jars().glob("ivy-*.jar"))
    if not found:
        raise PackageMissing(f"No ivy jar in {pyspark_jars()}.", "Reinstall PySpark.")
    return found[-1]


def _complaints(output: str) -> str:
    telling = [line.strip(" :\t") for line in output.splitlines() if "not found" in line or "FAILED" in line or "ERROR" in line]
    return "\n".join((telling or output.splitlines())[-20:])


def _remedy() -> str:
    return (
        f"Check the connection to Maven Central, or name an ivysettings.xml with your own repository in {SETTINGS_VARIABLE}"
        " (and a proxy in JAVA_TOOL_OPTIONS); then try again."
    )
