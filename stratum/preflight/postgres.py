"""PostgreSQL: one look with one connection, judged from several sides."""

import asyncio
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

import asyncpg

from contracts.database import SCHEMA_REVISION
from stratum.preflight import clock, database
from stratum.preflight.errors import Unreachable
from stratum.preflight.finding import Finding, failed, passed, skipped, warned
from stratum.preflight.runner import Check
from stratum.preflight.target import Target, is_loopback, without_password

GROUP = "postgres"
_MIGRATE = "Run `python -m control_plane migrate` of the version that you are deploying."

_CONNECTION = """
SELECT s.ssl, s.version AS tls_version, pg_is_in_recovery() AS in_recovery, current_setting('transaction_read_only')::bool AS read_only,
       current_user AS role, current_setting('server_version') AS server
FROM pg_stat_ssl s WHERE s.pid = pg_backend_pid()
"""
# reserved_connections exists from PostgreSQL 16 on
_ROOM = """
SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
         - coalesce(current_setting('reserved_connections', true)::int, 0) AS server_limit,
       (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS server_used,
       (SELECT count(*) FROM pg_stat_activity WHERE usename = r.rolname AND datname = d.datname AND pid <> pg_backend_pid()) AS own,
       r.rolconnlimit AS role_limit,
       (SELECT count(*) FROM pg_stat_activity WHERE usename = r.rolname) AS role_used,
       d.datconnlimit AS database_limit,
       (SELECT count(*) FROM pg_stat_activity WHERE datname = d.datname) AS database_used
FROM pg_roles r, pg_database d WHERE r.rolname = current_user AND d.datname = current_database()
"""
_DENIED = """
SELECT c.relname, array_agg(p) AS privileges
FROM pg_class c CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) p
WHERE c.relnamespace = to_regnamespace(current_schema()) AND c.relkind IN ('r', 'p') AND NOT has_table_privilege(c.oid, p)
GROUP BY c.relname ORDER BY c.relname
"""


@dataclass(frozen=True)
class Room:
    """How many connections are allowed and used, by the rule that leaves the least. `own`: of those used, to this database as our role."""

    limit: int
    used: int
    rule: str
    own: int = 0

    @property
    def free(self) -> int:
        """How many more there may be."""
        return self.limit - self.used


@dataclass(frozen=True)
class Seen:
    """What the one connection saw. `ahead`: seconds that the database's clock is ahead of ours."""

    server: str
    role: str
    tls: str | None
    writable: bool
    revision: str | None
    denied: dict[str, list[str]]
    room: Room
    ahead: float
    uncertain: float


def checks(target: Target) -> list[Check]:
    """The checks of this group."""
    if target.database_url is None:
        return [
            Check(
                GROUP,
                "address",
                lambda: skipped("STRATUM_DATABASE_URL is not set", "Set it to postgresql://user:password@host:port/database."),
            )
        ]
    postgres = Postgres(target, target.database_url.get_secret_value())
    asked = {
        "TLS": postgres.tls,
        "writable": postgres.writable,
        "schema": lambda: judge_revision(postgres.seen.revision),
        "privileges": postgres.privileges,
        "connections": lambda: judge_room(postgres.seen.room, target.connections_needed),
        "clock": lambda: clock.judge(postgres.seen.ahead, "the database", "this machine", postgres.seen.uncertain),
    }
    return [
        Check(GROUP, "reachable", postgres.reachable),
        *(Check(GROUP, name, look, needs=("reachable",)) for name, look in asked.items()),
    ]


class Postgres:
    """One database. `seen` is there after `reachable` has passed."""

    seen: Seen

    def __init__(self, target: Target, url: str) -> None:
        self._target = target
        self._url = url

    def reachable(self) -> Finding:
        """Connect, and look at everything at once."""
        try:
            self.seen = asyncio.run(_look(self._url))
        except Unreachable as error:
            return failed(
                f"{without_password(self._url)}: {error}",
                "Start PostgreSQL, open the way to it, or correct STRATUM_DATABASE_URL (user, password, database, ?sslmode=).",
            )
        return passed(f"PostgreSQL {self.seen.server} at {without_password(self._url)} as {self.seen.role}")

    def tls(self) -> Finding:
        """Whether the connection is encrypted."""
        if self.seen.tls is not None:
            return passed(self.seen.tls)
        if is_loopback(urlsplit(self._url).hostname):
            return passed("plain, and never leaves this machine")
        return warned(
            "the connection is not encrypted: whoever is between reads and changes it",
            "Switch TLS on in PostgreSQL and add ?sslmode=verify-full&sslrootcert=… to STRATUM_DATABASE_URL.",
        )

    def writable(self) -> Finding:
        """Whether it is the primary, and takes writes."""
        if self.seen.writable:
            return passed("it is a primary and takes writes")
        return failed(
            "it is a replica, or set to read-only",
            "Let STRATUM_DATABASE_URL name the primary (host1,host2 with target_session_attrs=read-write).",
        )

    def privileges(self) -> Finding:
        """What the role may do with the tables."""
        if not self.seen.denied:
            return passed(f"{self.seen.role} may read and write every table" if self.seen.revision else "no tables yet")
        denied = "; ".join(f"{table}: {', '.join(verbs)}" for table, verbs in self.seen.denied.items())
        return failed(
            f"{self.seen.role} may not: {denied}",
            f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {self.seen.role}; or connect as the owner.",
        )


def judge_revision(found: str | None) -> Finding:
    """Judge the schema's revision."""
    if found == SCHEMA_REVISION:
        return passed(f"revision {found}")
    if found is None:
        return failed("the database is empty", _MIGRATE)
    if found < SCHEMA_REVISION:  # revisions are numbered
        return failed(f"revision {found}, this version needs {SCHEMA_REVISION}", _MIGRATE)
    return failed(
        f"revision {found} is newer than this version's {SCHEMA_REVISION}",
        "Deploy the version that migrated it, or restore an older backup.",
    )


def judge_room(room: Room, needed: int) -> Finding:
    """Judge the connections that are left, beside what all services open at most; what they hold already is theirs to use."""
    detail = f"{room.free} of {room.limit} are free ({room.rule}), {room.own} are the services' own"
    if room.free + room.own >= needed:
        return passed(detail)
    return warned(f"{detail}; the services open up to {needed}", "Raise max_connections, or lower STRATUM_DATABASE_POOL_SIZE.")


async def _look(url: str) -> Seen:
    connection = await database.connect(url)
    try:
        return await _see(connection)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise Unreachable(database.words(error)) from error
    finally:
        await connection.close(timeout=database.SECONDS)


async def _see(connection: asyncpg.Connection) -> Seen:
    begin = time.time()
    now = await connection.fetchval("SELECT extract(epoch FROM clock_timestamp())::float8")
    end = time.time()
    (about,) = await connection.fetch(_CONNECTION)
    is_migrated = await connection.fetchval("SELECT coalesce(has_table_privilege(to_regclass('alembic_version')::oid, 'SELECT'), false)")
    return Seen(
        server=about["server"],
        role=about["role"],
        tls=about["tls_version"] if about["ssl"] else None,
        writable=not (about["in_recovery"] or about["read_only"]),
        revision=await connection.fetchval("SELECT version_num FROM alembic_version") if is_migrated else None,
        denied={row["relname"]: row["privileges"] for row in await connection.fetch(_DENIED)},
        room=_least((await connection.fetch(_ROOM))[0]),
        ahead=now - (begin + end) / 2,
        uncertain=(end - begin) / 2,
    )


def _least(row: asyncpg.Record) -> Room:
    rules = {"server": "the server's limit", "role": "the role's limit", "database": "the database's limit"}
    # -1: no limit of its own
    rooms = [
        Room(row[f"{name}_limit"], row[f"{name}_used"], words, row["own"]) for name, words in rules.items() if row[f"{name}_limit"] >= 0
    ]
    return min(rooms, key=lambda room: room.free)
