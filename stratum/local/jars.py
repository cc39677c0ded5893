"""The Java libraries the local platform adds to PySpark, pinned by `jars.lock` and kept in the user's cache.

Commands: `python -m stratum.local.jars lock | check | fetch GROUP`.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stratum.local.errors import JarsUnavailable, LocalError
from stratum.local.ivy import Coordinates, Dependency, pyspark_jars, retrieve
from stratum.local.java import Java, ensure_java

LOCK_FILE = Path(__file__).with_name("jars.lock")

_KAFKA = "4.1.1"
_HADOOP = "3.4.2"
_SPARK = "4.1.2"
_AWS_SDK = "2.29.52"
_LOG4J = "2.24.3"


@dataclass(frozen=True)
class Declared:
    """What a group must contain: its roots, and whether it is added to PySpark's own jars."""

    roots: tuple[Dependency, ...]
    beside_pyspark: bool


def _alone(text: str) -> Dependency:
    return Dependency(Coordinates.parse(text), transitive=False)


def _with_needs(text: str) -> Dependency:
    return Dependency(Coordinates.parse(text), transitive=True)


GROUPS: Mapping[str, Declared] = {
    "kafka": Declared(
        roots=(
            _with_needs(f"org.apache.kafka:kafka_2.13:{_KAFKA}"),
            # Kafka logs through SLF4J 1.7; without this binding its log would be empty.
            _with_needs(f"org.apache.logging.log4j:log4j-slf4j-impl:{_LOG4J}"),
        ),
        beside_pyspark=False,
    ),
    # The SDK's few modules S3A calls instead of its 533 MB bundle.
    "s3a": Declared(
        roots=(
            _alone(f"org.apache.hadoop:hadoop-aws:{_HADOOP}"),
            _alone(f"org.apache.spark:spark-hadoop-cloud_2.13:{_SPARK}"),
            *(
                _with_needs(f"software.amazon.awssdk:{module}:{_AWS_SDK}")
                for module in ("s3", "s3-transfer-manager", "sts", "apache-client")
            ),
            _with_needs("software.amazon.s3.analyticsaccelerator:analyticsaccelerator-s3:1.3.0"),
        ),
        beside_pyspark=True,
    ),
    # The 22 TPC-H queries, as Spark's own tests hold them; for our tests alone.
    "tpch": Declared(roots=(_alone(f"org.apache.spark:spark-sql_2.13:{_SPARK}:tests"),), beside_pyspark=False),
}

# PySpark has these classes under another artifact's name.
PROVIDED_UNDER_OTHER_NAME = frozenset({"commons-logging"})


@dataclass(frozen=True, order=True)
class LockedJar:
    """One pinned jar."""

    coordinates: Coordinates
    file: str
    sha256: str


@dataclass(frozen=True)
class LockedGroup:
    """One group of the lock file: the roots it was resolved from and every jar of the answer."""

    roots: tuple[str, ...]
    jars: tuple[LockedJar, ...]

    @property
    def digest(self) -> str:
        """Names the group's folder in the cache: other jars, other folder."""
        lines = "".join(f"{jar.sha256}  {jar.file}\n" for jar in sorted(self.jars))
        return hashlib.sha256(lines.encode()).hexdigest()[:16]


def read_lock(path: Path = LOCK_FILE) -> dict[str, LockedGroup]:
    """The lock file's groups by name.

    Raises:
        JarsUnavailable: it is missing or not what `lock` writes.
    """
    try:
        document = tomllib.loads(path.read_text())
        return {
            name: LockedGroup(
                roots=tuple(group["roots"]),
                jars=tuple(LockedJar(Coordinates.parse(jar["coordinates"]), jar["file"], jar["sha256"]) for jar in group["jars"]),
            )
            for name, group in document.items()
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise JarsUnavailable(f"{path} cannot be read: {error}.", "Run `python -m stratum.local.jars lock`.") from error


def write_lock(groups: Mapping[str, LockedGroup], path: Path = LOCK_FILE) -> None:
    """Write the lock file, sorted, so that a change of one jar is a change of one entry."""
    lines = ["# Made by `python -m stratum.local.jars lock`. The declarations are in jars.py."]
    for name, group in groups.items():
        lines += ["", f"[{name}]", "roots = [", *(f'    "{root}",' for root in group.roots), "]"]
        for jar in sorted(group.jars):
            lines += ["", f"[[{name}.jars]]", f'coordinates = "{jar.coordinates}"']
            lines += [f'file = "{jar.file}"', f'sha256 = "{jar.sha256}"']
    path.write_text("\n".join(lines) + "\n")


def declared_roots(declared: Declared) -> tuple[str, ...]:
    """The roots as the lock file records them: a trailing `@jar` means the jar alone."""
    return tuple(f"{root.coordinates}{'' if root.transitive else '@jar'}" for root in declared.roots)


def resolve(declared: Declared, java: Java) -> LockedGroup:
    """Resolve a group's roots with all they need, leaving out what PySpark already has."""
    provided = provided_artifacts() if declared.beside_pyspark else frozenset()
    with tempfile.TemporaryDirectory() as scratch:
        found = retrieve(declared.roots, java, Path(scratch))
        jars = tuple(
            LockedJar(coordinates, coordinates.file_name, sha256_of(path))
            for coordinates, path in sorted(found.items())
            if coordinates.name not in provided
        )
    return LockedGroup(declared_roots(declared), jars)


def provided_artifacts() -> frozenset[str]:
    """Names of the artifacts in PySpark's own jars folder, without versions."""
    names = (re.fullmatch(r"(.+?)-\d.*\.jar", jar.name) for jar in pyspark_jars().glob("*.jar"))
    return frozenset(match[1] for match in names if match) | PROVIDED_UNDER_OTHER_NAME


def check(locked: Mapping[str, LockedGroup]) -> list[str]:
    """What is wrong with the lock, offline: empty when it is consistent with the declarations."""
    problems = [f"group {name}: not declared" for name in locked.keys() - GROUPS.keys()]
    for name, declared in GROUPS.items():
        group = locked.get(name)
        if group is None:
            problems.append(f"group {name}: missing")
            continue
        if group.roots != declared_roots(declared):
            problems.append(f"group {name}: locked for {list(group.roots)}, declared {list(declared_roots(declared))}")
        pinned = {jar.coordinates for jar in group.jars}
        problems += [f"group {name}: {r.coordinates} missing" for r in declared.roots if r.coordinates not in pinned]
        files = [jar.file for jar in group.jars]
        problems += [f"group {name}: {file} twice" for file in sorted({f for f in files if files.count(f) > 1})]
        for jar in group.jars:
            if jar.file != jar.coordinates.file_name or not re.fullmatch(r"[0-9a-f]{64}", jar.sha256):
                problems.append(f"group {name}: {jar.file}: malformed entry")
            if declared.beside_pyspark and jar.coordinates.name in provided_artifacts():
                problems.append(f"group {name}: {jar.file}: PySpark has it already")
    return problems


def cache_folder() -> Path:
    """Where fetched groups lie; shared by all homes of this user."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "stratum" / "jars"


def fetch(name: str, java: Java) -> Path:
    """The folder holding exactly the jars of group `name`, downloaded when it is not there yet.

    Safe to call from several processes at once: a folder appears complete and verified, or not at all.

    Raises:
        JarsUnavailable: unknown group, failed download, or a jar that is not the pinned one.
    """
    locked = read_lock()
    if name not in locked:
        raise JarsUnavailable(f"There is no group of jars {name!r}.", f"Choose one of: {', '.join(locked)}.")
    group = locked[name]
    folder = cache_folder() / f"{name}-{group.digest}"
    if not folder.is_dir():
        _download(group, java, folder)
    verify(group, folder)
    return folder


def verify(group: LockedGroup, folder: Path) -> None:
    """Raise JarsUnavailable unless each jar in `folder` is the pinned one and none is missing."""
    for jar in group.jars:
        path = folder / jar.file
        if not path.is_file() or sha256_of(path) != jar.sha256:
            raise JarsUnavailable(f"{path} is missing or not the pinned jar.", f"Remove {folder} and try again.")


def _download(group: LockedGroup, java: Java, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetching-", dir=folder.parent) as scratch_name:
        scratch = Path(scratch_name)
        found = retrieve((Dependency(jar.coordinates, transitive=False) for jar in group.jars), java, scratch)
        staging = scratch / "verified"
        staging.mkdir()
        for jar in group.jars:
            source = found.get(jar.coordinates)
            if source is None or (actual := sha256_of(source)) != jar.sha256:
                came = "nothing came" if source is None else f"a jar with sha256 {actual} came"
                raise JarsUnavailable(
                    f"{jar.coordinates}: sha256 {jar.sha256} is pinned, {came}.",
                    "Check the repository you fetch from; if the pin is wrong, run `python -m stratum.local.jars lock`.",
                )
            shutil.move(source, staging / jar.file)
        try:
            staging.rename(folder)
        except OSError:
            # Another process finished first. Its folder is as good as ours; anything else is an error.
            if not folder.is_dir():
                raise


def sha256_of(path: Path) -> str:
    """Hexadecimal sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m stratum.local.jars", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("lock", help="resolve the declared roots anew and write jars.lock")
    commands.add_parser("check", help="compare jars.lock with the declarations, offline")
    commands.add_parser("fetch", help="print the folder of a group, fetching it when needed").add_argument("group", choices=sorted(GROUPS))
    options = parser.parse_args(arguments)
    try:
        match options.command:
            case "lock":
                java = ensure_java(_to_stderr)
                write_lock({name: resolve(declared, java) for name, declared in GROUPS.items()})
            case "check":
                if problems := check(read_lock()):
                    raise JarsUnavailable("\n".join(problems), "\nRun `python -m stratum.local.jars lock`.")
            case _:
                print(fetch(options.group, ensure_java(_to_stderr)))
    except LocalError as error:
        _to_stderr(f"error: {error}")
        return 1
    return 0


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
