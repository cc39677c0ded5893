"""The edge to PostgreSQL: a pool, the named queries, and one translation of its errors."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiosql
import asyncpg

from contracts.model import canonical_json
from control_plane import schema
from control_plane.errors import Unavailable
from control_plane.settings import DatabaseSettings

queries: Any = aiosql.from_path(Path(__file__).parent / "sql", "asyncpg", mandatory_parameters=False)
"""The statements of `sql/*.sql` by name."""

Connection = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy

# What PostgreSQL, or the way to it, says when the same statement may work a moment later.
_PASSING = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.exceptions.OperatorInterventionError,
    asyncpg.exceptions.InsufficientResourcesError,
    asyncpg.exceptions.CannotConnectNowError,
    asyncpg.exceptions.DeadlockDetectedError,
    asyncpg.exceptions.SerializationError,
    asyncpg.exceptions.InternalClientError,
)


class Database:
    """A pool of connections. Made without touching the server: `connection` and `transaction` do, and say `Unavailable`."""

    def __init__(self, settings: DatabaseSettings) -> None:
        self._settings = settings
        self._pool: asyncpg.Pool | None = None
        self._opening = asyncio.Lock()

    async def open(self) -> None:
        """Connect, and refuse a schema that this version does not know.

        Raises:
            Unavailable: the server does not answer.
            UnknownSchema: it does, with another schema.
        """
        async with self._opening:
            if self._pool is not None:
                return
            try:
                pool = await asyncpg.create_pool(
                    self._settings.database_url,
                    min_size=1,
                    max_size=self._settings.database_pool_size,
                    timeout=3,
                    command_timeout=15,
                    init=_initialize,
                )
                try:
                    async with pool.acquire(timeout=3) as connection:
                        await schema.check(connection)
                except BaseException:
                    pool.terminate()
                    raise
            except _PASSING as error:
                raise _unavailable(error) from error
            self._pool = pool

    async def close(self) -> None:
        """Give the connections back."""
        if self._pool is not None:
            self._pool.terminate()
            self._pool = None

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection for single statements."""
        if self._pool is None:
            await self.open()
        assert self._pool is not None  # noqa: S101 - open() either sets it or raises
        try:
            async with self._pool.acquire(timeout=3) as connection:
                yield connection
        except _PASSING as error:
            if isinstance(error, ValueError):  # a value that the driver cannot send: our defect, not the server's absence
                raise
            raise _unavailable(error) from error

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection inside a transaction, committed when the block ends without an exception."""
        async with self.connection() as connection, connection.transaction():
            yield connection

    @asynccontextmanager
    async def tenant(self, tenant: str) -> AsyncIterator[Connection]:
        """A transaction for which rows of other tenants do not exist, whatever its statements say."""
        async with self.transaction() as connection:
            await queries.enter_tenant(connection, tenant=tenant)
            yield connection


async def connect(settings: DatabaseSettings) -> asyncpg.Connection:
    """One connection outside the pool, for those who hold an advisory lock on it."""
    async with passing_errors():
        connection = await asyncpg.connect(settings.database_url, timeout=3, command_timeout=15)
        try:
            await _initialize(connection)
            await schema.check(connection)
        except BaseException:
            connection.terminate()
            raise
        return connection


async def reachable(database_url: str) -> None:
    """Connect, whatever the database holds. Raises `Unavailable`."""
    async with passing_errors():
        connection = await asyncpg.connect(database_url, timeout=3)
        await connection.close()


@asynccontextmanager
async def passing_errors() -> AsyncIterator[None]:
    """Translate what passes into `Unavailable`, for work on a connection of `connect`."""
    try:
        yield
    except _PASSING as error:
        raise _unavailable(error) from error


async def _initialize(connection: asyncpg.Connection) -> None:
    await connection.set_type_codec(
        "jsonb", encoder=lambda value: canonical_json(value).decode(), decoder=json.loads, schema="pg_catalog", format="text"
    )


def _unavailable(error: BaseException) -> Unavailable:
    return Unavailable(
        f"The database does not answer ({type(error).__name__}); nothing was changed. Send the request again.", retry_after=2
    )
