"""Stratum's own processes on one machine: their settings, and the commands that prepare an installation for them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import psutil

from contracts.catalog import BUILT_IN
from stratum.local.errors import ServiceFailed, SettingInvalid
from stratum.local.ports import HOST
from stratum.local.program import Program, base_environment
from stratum.local.seaweed import REGION
from stratum.local.services import LocalServices
from stratum.local.supervisor import NotReady

TENANT = "local"
BUCKET = "stratum"
CONTROL_PLANE_ROLES = ("api", "relay", "reconcile", "webhooks")
LAUNCHER = "launcher"
ROLES = (*CONTROL_PLANE_ROLES, LAUNCHER)

# A Spark driver with its share of page cache; fewer at once are faster than swapping.
GIB_PER_JOB = 2
COMMAND_SECONDS = 120


@dataclass(frozen=True)
class Installation:
    """What the roles are told of this machine.

    Attributes:
        home: the platform's folder.
        http_port: of the API, on this machine only.
        java_home, spark_jars: what Spark jobs run on, and the folder of jars added to PySpark's.
    """

    home: Path
    http_port: int
    java_home: Path
    spark_jars: Path

    @property
    def url(self) -> str:
        """Of the API."""
        return f"http://{HOST}:{self.http_port}"

    @property
    def signing_key_file(self) -> Path:
        """PEM of the key that signs flow and run tokens."""
        return self.home / "signing-key.pem"

    @property
    def token_file(self) -> Path:
        """The API key of the one tenant's administrator."""
        return self.home / "api-token"

    def environment(self, services: LocalServices) -> dict[str, str]:
        """The settings of all roles.

        Raises:
            SettingInvalid: the caller's environment holds one that cannot be used.
        """
        return {
            "STRATUM_DATABASE_URL": services.postgres.url,
            "STRATUM_KAFKA_BOOTSTRAP": services.kafka.bootstrap,
            "STRATUM_TOPIC_PREFIX": "stratum",
            "STRATUM_S3_ENDPOINT": services.s3.endpoint,
            "STRATUM_S3_PUBLIC_ENDPOINT": services.s3.endpoint,
            "STRATUM_S3_REGION": REGION,
            "STRATUM_S3_ACCESS_KEY": services.s3.access_key,
            "STRATUM_S3_SECRET_KEY": services.s3.secret_key,
            "STRATUM_SIGNING_KEY_FILE": str(self.signing_key_file),
            "STRATUM_HTTP_HOST": HOST,
            "STRATUM_HTTP_PORT": str(self.http_port),
            "STRATUM_CALLBACK_BASE_URL": self.url,
            # receivers on this machine, and none elsewhere in its networks
            "STRATUM_WEBHOOK_ALLOW": "localhost,127.0.0.0/8,::1/128",
            "STRATUM_WEBHOOK_PORTS": "1-65535",
            "STRATUM_JWKS_URL": f"{self.url}/.well-known/jwks.json",
            "STRATUM_LAUNCHER_BACKEND": "process",
            "STRATUM_JOBS_DIR": str(self.home / "jobs"),
            "STRATUM_SPARK_JARS_DIR": str(self.spark_jars),
            "STRATUM_CLUSTER": "local",
            "JAVA_HOME": str(self.java_home),
            **_from_caller(os.environ),
        }

    def programs(self, services: LocalServices) -> list[Program]:
        """How to run each role."""
        environment = self.environment(services)
        control_plane = [self._program(role, "control_plane", role, environment) for role in CONTROL_PLANE_ROLES]
        # Jobs outlive the launcher: they have their own sessions, and its next life finds them.
        launcher = self._program(LAUNCHER, "launcher", "local", environment).model_copy(update={"stop_group": False})
        return [*control_plane, launcher]

    def prepare(self, services: LocalServices) -> None:
        """Bring database, topics, bucket and tenant to this version. Repeating it changes nothing.

        Raises:
            ServiceFailed: one of the commands failed.
        """
        (self.home / "jobs").mkdir(mode=0o700, exist_ok=True)
        services.s3.create_bucket(BUCKET)
        environment = self.environment(services)
        tenant = ["--tenant", TENANT, "--bucket", BUCKET, "--prefix", "", "--role", "admin"]
        control_plane = partial(run_command, "control_plane", environment=environment)
        with ThreadPoolExecutor(1) as pool:
            topics = pool.submit(control_plane, ["topics"])
            control_plane(["migrate"])
            control_plane(["provision", *tenant, "--api-key-file", str(self.token_file)])
            topics.result()

    def check_api(self) -> None:
        """Ask the API for its readiness.

        Raises:
            NotReady: it is not ready; the message is its answer.
        """
        try:
            response = httpx.get(f"{self.url}/readyz", timeout=10, trust_env=False)
        except httpx.HTTPError as error:
            raise NotReady(f"GET {self.url}/readyz: {error}") from error
        if response.status_code != httpx.codes.OK:
            raise NotReady(f"GET {self.url}/readyz answered {response.status_code}: {response.text[:500]}")

    def _program(self, name: str, module: str, command: str, environment: Mapping[str, str]) -> Program:
        argv = (sys.executable, "-m", module, command)
        return Program(name=name, argv=argv, folder=self.home, environment=environment, settle_seconds=2)


def stop_jobs(home: Path) -> None:
    """End the Spark jobs of a home that still run; its launcher is down.

    Raises:
        ServiceFailed: the launcher's command for it failed.
    """
    if (jobs := home / "jobs").is_dir():
        run_command("launcher", ["stop-jobs"], {"STRATUM_JOBS_DIR": str(jobs)})


def run_command(module: str, arguments: list[str], environment: Mapping[str, str]) -> None:
    """Run `python -m MODULE ARGUMENTS` to its end.

    Raises:
        ServiceFailed: it did not end well; the message ends with what it printed.
    """
    command = [sys.executable, "-m", module, *arguments]
    shown = f"python -m {module} {arguments[0]}"
    try:
        done = subprocess.run(
            command, env={**base_environment(), **environment}, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ServiceFailed(f"`{shown}` did not end within {COMMAND_SECONDS} s.", "Is the machine overloaded? Try again.") from error
    if done.returncode != 0:
        raise ServiceFailed(f"`{shown}` failed:\n{(done.stdout + done.stderr).strip()[-3000:]}\n", "Mend what it names and try again.")


def default_max_jobs(cores: int, memory_bytes: int) -> int:
    """How many Spark jobs at once: one a core, as long as memory allows, and at least one."""
    return max(1, min(cores, memory_bytes // (GIB_PER_JOB << 30)))


def _from_caller(environment: Mapping[str, str]) -> dict[str, str]:
    """The settings a person may choose by the environment of `stratum up`."""
    default = default_max_jobs(os.cpu_count() or 1, psutil.virtual_memory().total)
    jobs = environment.get("STRATUM_MAX_LOCAL_JOBS") or str(default)
    if not jobs.isdecimal() or int(jobs) < 1:
        raise SettingInvalid(f"STRATUM_MAX_LOCAL_JOBS is {jobs!r}.", "Set it to a whole number from 1 on, or unset it.")
    # a few more are released than run, so that a slot never waits; the others are held where their place can be seen
    chosen = {"STRATUM_MAX_LOCAL_JOBS": jobs, "STRATUM_MAX_IN_FLIGHT": str(2 * int(jobs))}
    if catalog := environment.get("STRATUM_CATALOG_DIR"):
        chosen["STRATUM_CATALOG_DIR"] = ":".join(map(_catalog_folder, catalog.split(":")))
    return chosen


def _catalog_folder(name: str) -> str:
    if name == BUILT_IN:
        return name
    if not name or not Path(name).is_dir():
        raise SettingInvalid(f"STRATUM_CATALOG_DIR names {name!r}, which is no folder.", "Correct or unset it.")
    return str(Path(name).resolve())
