"""The command line of a local Spark driver.

`spark-submit` starts a JVM of its own only to work out the command line of the real one. Here that is asked once, of the same class
of Spark, and each job's own settings are put in.
"""

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import psutil

from contracts.command import mebibytes
from contracts.java_trust import trusting_options
from contracts.sizing import Resources
from contracts.spark_conf import spark_conf
from launcher.errors import LauncherError
from launcher.job import JobSpec
from launcher.process.children import Launch
from launcher.process.class_archive import ClassArchive
from launcher.process.folder import JobFolder
from launcher.settings import LocalSettings
from launcher.sizing import is_short

SMALLEST_HEAP = 512
"""MiB that a driver needs in any case."""
MEMORY_SHARE = 0.75
"""Part of the machine's memory that all local jobs together may take."""
_PASSED_ON = re.compile(r"PATH|HOME|USER|LANG|LC_\w+|TZ|TMPDIR|SSL_CERT_\w+|(HTTPS?|NO|https?|no)_(PROXY|proxy)")
_SUBMIT_CLASS = "org.apache.spark.deploy.SparkSubmit"


@dataclass(frozen=True, slots=True)
class LocalShape:
    """How a job that was sized for a cluster runs in one JVM."""

    threads: int
    heap_mebibytes: int


def local_shape(resources: Resources, slots: int, cores: int, memory_mebibytes: int) -> LocalShape:
    """Driver and executors become threads and heap of one JVM, as far as the machine, shared by `slots` jobs, has them."""
    threads = max(resources.driver_cores, resources.executor_instances * resources.executor_cores)
    heap = mebibytes(resources.driver_memory) + resources.executor_instances * mebibytes(resources.executor_memory)
    share = int(memory_mebibytes * MEMORY_SHARE / slots)
    return LocalShape(min(threads, cores), max(min(heap, share), SMALLEST_HEAP))


def _compiler(spec: JobSpec) -> list[str]:
    """A short run ends before the optimizing compiler has paid for itself; it, and a concurrent collector, would only cost."""
    return ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"] if is_short(spec.command) else []


class SparkSubmit:
    """Makes the launch of each job; see `launcher.process.children.Launcher`."""

    def __init__(self, settings: LocalSettings, archive_folder: Path) -> None:
        self._settings = settings
        self._archive_folder = archive_folder

    def __call__(self, spec: JobSpec, folder: JobFolder) -> Launch:
        """The launch of a job's driver. Keys go by the environment, the token by the command file."""
        shape = local_shape(spec.resources, self._settings.max_local_jobs, os.cpu_count() or 1, psutil.virtual_memory().total // 2**20)
        java, *options = self._java
        heap = f"-Xmx{shape.heap_mebibytes}m"
        arguments = [
            java,
            heap,
            *_compiler(spec),
            *self.archive.options(spec.name),
            f"-Djava.io.tmpdir={folder.scratch}",
            *self._trust(folder),
            *options,
            _SUBMIT_CLASS,
        ]
        arguments += ["--master", f"local[{shape.threads}]", "--name", spec.name]
        for name, value in self._conf(spec, folder, shape).items():
            arguments += ["--conf", f"{name}={value}"]
        arguments += [str(application_file(spec.command.entry_point)), "run", "--command", str(folder.command_file)]
        return Launch(arguments, self._environment(folder))

    @cached_property
    def archive(self) -> ClassArchive:
        """The archive of loaded classes for this Java, class path and set of options."""
        return ClassArchive(self._archive_folder, self._java)

    def _trust(self, folder: JobFolder) -> list[str]:
        bundle = self._settings.ca_bundle
        if bundle is None:
            return []
        try:
            return trusting_options(self._settings.java_home, bundle, folder.scratch / "truststore.jks")
        except ValueError as error:
            raise LauncherError(str(error)) from error

    def _conf(self, spec: JobSpec, folder: JobFolder, shape: LocalShape) -> Mapping[str, str]:
        return {
            **spark_conf(self._settings.s3_endpoint, self._settings.s3_region, shuffle_partitions=spec.resources.shuffle_partitions),
            "spark.driver.memory": f"{shape.heap_mebibytes}m",
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.local.dir": str(folder.scratch),
            "spark.hadoop.hadoop.tmp.dir": str(folder.scratch),
            "spark.sql.warehouse.dir": str(folder.scratch / "warehouse"),
        }

    def _environment(self, folder: JobFolder) -> Mapping[str, str]:
        """What a job may know: the launcher's own environment may hold more."""
        settings = self._settings
        environment = {name: value for name, value in os.environ.items() if _PASSED_ON.fullmatch(name)}
        environment |= {
            "JAVA_HOME": str(settings.java_home),
            "SPARK_HOME": str(self._spark_home),
            "PYSPARK_PYTHON": sys.executable,
            "PYTHONHASHSEED": "0",  # as spark-submit sets it: workers must agree on hashes
            "PYTHONSAFEPATH": "1",  # modules beside the application file must not hide others
            "PYTHONUNBUFFERED": "1",
            "SPARK_LOCAL_IP": "127.0.0.1",
            "TMPDIR": str(folder.scratch),
            "STRATUM_S3_ENDPOINT": settings.s3_endpoint,
            "STRATUM_S3_REGION": settings.s3_region,
            "STRATUM_S3_ACCESS_KEY": settings.s3_access_key,
            "STRATUM_S3_SECRET_KEY": settings.s3_secret_key.get_secret_value(),
        }
        if settings.ca_bundle is not None:
            environment["STRATUM_CA_BUNDLE"] = str(settings.ca_bundle)
        return environment

    @cached_property
    def _spark_home(self) -> Path:
        spec = importlib.util.find_spec("pyspark")
        if spec is None or spec.origin is None:
            raise LauncherError("PySpark is not installed: install Stratum with its extra 'spark'")
        return Path(spec.origin).parent

    @cached_property
    def _java(self) -> list[str]:
        """`java` and its options without a heap size, as Spark's own launcher makes them for `spark-submit`."""
        jars = self._settings.spark_jars_dir
        if not any(jars.glob("*.jar")):
            raise LauncherError(f"there are no jars in STRATUM_SPARK_JARS_DIR ({jars}): fetch the s3a group")
        command = [str(self._settings.java_home / "bin" / "java"), "-cp", f"{self._spark_home}/jars/*", "org.apache.spark.launcher.Main"]
        command += [_SUBMIT_CLASS, "--driver-class-path", f"{jars}/*", "application.py"]
        environment = {"PATH": os.environ.get("PATH", ""), "SPARK_HOME": str(self._spark_home), "SPARK_SCALA_VERSION": "2.13"}
        try:
            output = subprocess.run(command, env=environment, capture_output=True, check=True, timeout=60).stdout
        except (OSError, subprocess.SubprocessError) as error:
            raise LauncherError(f"Spark's launcher does not run with JAVA_HOME={self._settings.java_home}: {error}") from error
        return java_of(output)


def java_of(output: bytes) -> list[str]:
    """The JVM's part of what Spark's launcher printed: a NUL line, then arguments with a NUL behind each."""
    arguments = output.decode().partition("\0\n")[2].split("\0")[:-1]
    if _SUBMIT_CLASS not in arguments:
        raise LauncherError(f"Spark's launcher gave no command line: {output.decode(errors='replace')[:500]}")
    return [each for each in arguments[: arguments.index(_SUBMIT_CLASS)] if not each.startswith("-Xmx")]


def application_file(entry_point: str) -> Path:
    """The file that runs a module, found without importing anything of it.

    Raises:
        LauncherError: there is no such module on this machine.
    """
    top, *rest = entry_point.split(".")
    spec = importlib.util.find_spec(top) if top.isidentifier() else None
    if spec is not None and spec.origin is not None:
        base = Path(spec.origin).parent.joinpath(*rest) if spec.submodule_search_locations else Path(spec.origin)
        for file in (base / "__main__.py", base.with_suffix(".py")):
            if file.is_file():
                return file
    raise LauncherError(f"the entry point {entry_point!r} is no module that can be run on this machine")
