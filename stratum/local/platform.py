"""The whole platform of one home folder: `up`, `down`, `status`."""

from __future__ import annotations

import fcntl
import secrets
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from stratum.local import jars, state
from stratum.local.errors import DiskFull, HomeUnusable, LocalError, StateUnreadable
from stratum.local.java import ensure_java
from stratum.local.ports import settle_ports
from stratum.local.private_file import write_private
from stratum.local.roles import BUCKET, CONTROL_PLANE_ROLES, LAUNCHER, ROLES, Installation, stop_jobs
from stratum.local.seaweed import REGION
from stratum.local.services import LocalServices
from stratum.local.supervisor import NotReady, Supervisor

SERVICES = ("postgres", "kafka", "s3")
LEAST_FREE_BYTES = 1 << 30
ROLE_SECONDS = 120

Progress = Callable[[str], None]


class PlatformState(state.StateModel):
    """What must be the same at the next start, and what clients on this machine look up (`url`, `token`, the addresses)."""

    version: Literal[1] = 1
    http_port: int
    url: str
    token: str
    data_dir: str
    s3: dict[str, str]
    kafka: dict[str, str]
    database_url: str

    @property
    def command_environment(self) -> dict[str, str]:
        """The settings of the control plane's commands, for database and store."""
        return {
            "STRATUM_DATABASE_URL": self.database_url,
            "STRATUM_S3_ENDPOINT": self.s3["endpoint"],
            "STRATUM_S3_REGION": REGION,
            "STRATUM_S3_ACCESS_KEY": self.s3["access_key"],
            "STRATUM_S3_SECRET_KEY": self.s3["secret_key"],
        }

    def document(self, pids: dict[str, int]) -> dict[str, Any]:
        """What `stratum up --json` prints."""
        return {**self.model_dump(exclude={"version", "http_port"}), "pids": pids}


class Platform:
    """The local platform that lives in `home`. Any number of them may run side by side, each in its own home."""

    def __init__(self, home: Path) -> None:
        self.home = home.expanduser().resolve()
        self._state_file = self.home / "platform.json"
        self._supervisor = Supervisor(self.home)

    def up(self, progress: Progress = lambda _: None) -> dict[str, Any]:
        """Start all that does not run, and return addresses, credentials and pids (`stratum up --json`).

        Args:
            progress: told what is being done, in a few words.

        Raises:
            LocalError: something could not be started; what this call started is stopped again.
        """
        with self._alone(progress):
            if self._supervisor.is_running():
                return self._bring_up(*self._parts(progress), progress)
            try:
                return self._start(progress)
            except BaseException as error:
                # Half a platform would only hide what went wrong. The logs stay.
                self._clean_up_after(error)
                raise

    def down(self, progress: Progress = lambda _: None) -> None:
        """Stop all of it, the running Spark jobs too; the data stays. Without effect when nothing runs.

        Raises:
            LocalError: something could not be stopped.
        """
        if self.home.is_dir():
            with self._alone(progress):
                self._take_down(progress)

    def status(self) -> dict[str, Any]:
        """`state` (up, degraded, down), addresses, and for each part its `state`, `pid`, `seconds` since its start and `log`."""
        known = state.load(self._state_file, PlatformState) if self.home.is_dir() else None
        answers = self._supervisor.is_running()
        parts: dict[str, Any] = {}
        for name in (*SERVICES, *ROLES):
            found = self._supervisor.state(name) if answers else None
            parts[name] = {
                "state": found.name.lower() if found else "stopped",
                "pid": found.pid if found else 0,
                "seconds": found.seconds if found else 0,
                "log": str(self._supervisor.log_file(name)),
            }
        running = sum(part["state"] == "running" for part in parts.values())
        return {
            "state": "down" if running == 0 else "up" if running == len(parts) else "degraded",
            "url": known.url if known else None,
            "data_dir": str(self.home),
            "parts": parts,
        }

    def _start(self, progress: Progress) -> dict[str, Any]:
        self._require_room()
        services, installation = self._parts(progress)
        self._supervisor.end_leftovers()
        progress("preparing PostgreSQL, Kafka and S3")
        programs = services.prepare(progress)
        installation = self._settle(installation, services, progress)
        self._supervisor.launch([*programs, *installation.programs(services)])
        return self._bring_up(services, installation, progress)

    def _bring_up(self, services: LocalServices, installation: Installation, progress: Progress) -> dict[str, Any]:
        """Start what does not run, under a supervisor that does."""
        progress("starting PostgreSQL, Kafka and S3")
        services.start(self._supervisor)
        if not self._roles_serve(installation):
            progress("preparing database, topics and tenant")
            installation.prepare(services)
            progress("starting the API, relay, reconciler, webhooks and launcher")
            for role in ROLES:
                self._supervisor.start(role)
            for role in ROLES:
                self._supervisor.await_ready(role, installation.check_api if role == "api" else _nothing_to_ask, ROLE_SECONDS)
        known = state.load(self._state_file, PlatformState)
        if known is None:
            raise StateUnreadable(f"{self._state_file} is gone.", "Run `stratum down`, then `stratum up`.")
        return known.document({name: self._supervisor.state(name).pid for name in (*ROLES, *SERVICES)})

    def _take_down(self, progress: Progress) -> None:
        """Stop everything in the reverse order of its start."""
        if not self._supervisor.is_running():
            # Its servers may still be there, without it.
            self._supervisor.end_leftovers()
            stop_jobs(self.home)
            return
        progress("stopping the launcher")
        self._supervisor.stop(LAUNCHER)
        progress("stopping Spark jobs")
        stop_jobs(self.home)
        progress("stopping webhooks, reconciler, relay and API")
        self._supervisor.stop(*reversed(CONTROL_PLANE_ROLES))
        progress("stopping S3, Kafka and PostgreSQL")
        self._supervisor.stop(*reversed(SERVICES))
        self._supervisor.shutdown()

    def _clean_up_after(self, error: BaseException) -> None:
        try:
            self._take_down(lambda _: None)
        except LocalError as another:
            error.add_note(f"Cleaning up failed too: {another}")
            self._supervisor.shutdown()

    def _parts(self, progress: Progress) -> tuple[LocalServices, Installation]:
        """The parts as known so far; Java and jars are fetched where they are missing."""
        java = ensure_java(progress)
        progress("checking the jars of Kafka and S3A")
        with ThreadPoolExecutor() as pool:
            kafka_jars, spark_jars = pool.map(lambda group: jars.fetch(group, java), ("kafka", "s3a"))
        known = state.load(self._state_file, PlatformState)
        port = known.http_port if known else 0
        return LocalServices(self.home, java, kafka_jars), Installation(self.home, port, java.home, spark_jars)

    def _settle(self, installation: Installation, services: LocalServices, progress: Progress) -> Installation:
        """Choose the API's port and make the secrets, unless they are known, and write down what clients look up."""
        known = state.load(self._state_file, PlatformState)
        port = settle_ports({"api": known.http_port} if known else {}, ["api"], progress)["api"]
        settled = replace(installation, http_port=port)
        token = known.token if known else f"stratum_{secrets.token_urlsafe(32)}"
        write_private(settled.token_file, token)
        if not settled.signing_key_file.exists():
            write_private(settled.signing_key_file, _new_signing_key())
        s3 = services.s3
        found = PlatformState(
            http_port=port,
            url=settled.url,
            token=token,
            data_dir=str(self.home),
            s3={"endpoint": s3.endpoint, "bucket": BUCKET, "access_key": s3.access_key, "secret_key": s3.secret_key},
            kafka={"bootstrap": services.kafka.bootstrap},
            database_url=services.postgres.url,
        )
        state.save(self._state_file, found)
        return settled

    def _roles_serve(self, installation: Installation) -> bool:
        if any(self._supervisor.state(role).name != "RUNNING" for role in ROLES):
            return False
        try:
            installation.check_api()
        except NotReady:
            return False
        return True

    def _require_room(self) -> None:
        free = shutil.disk_usage(self.home).free
        if free < LEAST_FREE_BYTES:
            raise DiskFull(
                f"Only {free >> 20} MiB are free where {self.home} lies; {LEAST_FREE_BYTES >> 20} MiB are the least.",
                "Make room, or set STRATUM_HOME to a folder on another disk.",
            )

    @contextmanager
    def _alone(self, progress: Progress) -> Iterator[None]:
        """One `up` or `down` at a time in a home; others wait."""
        with self._lock_file() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                progress(f"another command is at work in {self.home}: waiting for it")
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _lock_file(self) -> IO[str]:
        try:
            self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
            return (self.home / ".lock").open("w")
        except OSError as error:
            raise HomeUnusable(f"{self.home} cannot be written: {error}.", "Set STRATUM_HOME to a folder of yours.") from error


def _nothing_to_ask() -> None:
    """For roles without an address: that they stay up is all there is to see."""


def _new_signing_key() -> str:
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
