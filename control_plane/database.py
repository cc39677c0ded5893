"""The edge to PostgreSQL: a pool, the named queries, and one translation of its errors."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiosql
import asyncpg
import structlog

from contracts.model import canonical_json
from control_plane import schema
from control_plane.errors import Busy, OutcomeUnknown, Unavailable
from control_plane.settings import DatabaseSettings

log = structlog.get_logger()
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

# No answer came: the server is frozen, or the way to it.
_NO_ANSWER = (OSError, TimeoutError)


class Database:
    """A pool of connections. Made without touching the server: `connection` and `transaction` do, and say `Unavailable`."""

    def __init__(self, settings: DatabaseSettings) -> None:
        self._settings = settings
        self._pool: asyncpg.Pool | None = None
        self._opening = asyncio.Lock()
        self._waiting = 0

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
                    command_timeout=self._settings.database_statement_seconds,
                    init=_initialize,
                    reset=_leave_as_it_is,
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
            connection = await self._acquire(self._pool)
            try:
                yield connection
            except (*_NO_ANSWER, asyncio.CancelledError):
                # asked to take back what it does not answer, the server would be waited for as long again
                _end(connection)
                raise
            finally:
                await _give_back(self._pool, connection)
        except _PASSING as error:
            if isinstance(error, ValueError):  # a value that the driver cannot send: our defect, not the server's absence
                raise
            raise _unavailable(error) from error

    async def _acquire(self, pool: asyncpg.Pool) -> asyncpg.pool.PoolConnectionProxy:
        """A connection, waited for as long as may be and by as many as may."""
        if self._waiting > self._settings.database_max_waiting:
            raise Busy("All connections to the database are in use; nothing was changed. Send the request again.", retry_after=1)
        self._waiting += 1
        try:
            return await pool.acquire(timeout=self._settings.database_wait_seconds)
        finally:
            self._waiting -= 1

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection inside a transaction, committed when the block ends without an exception.

        Raises:
            Unavailable: nothing was changed.
            OutcomeUnknown: it was to be committed, and no answer came.
        """
        async with self.connection() as connection:
            transaction = connection.transaction()
            await transaction.start()
            try:
                yield connection
            except (*_NO_ANSWER, asyncio.CancelledError):
                raise  # `connection` ends the connection, and with it the transaction
            except BaseException:
                await transaction.rollback()
                raise
            await _commit(connection, transaction)

    @asynccontextmanager
    async def tenant(self, tenant: str) -> AsyncIterator[Connection]:
        """A transaction for which rows of other tenants do not exist, whatever its statements say."""
        async with self.transaction() as connection:
            await queries.enter_tenant(connection, tenant=tenant)
            yield connection


async def connect(settings: DatabaseSettings) -> asyncpg.Connection:
    """One connection outside the pool, for those who hold an advisory lock on it."""
    async with passing_errors():
        connection = await asyncpg.connect(settings.database_url, timeout=3, command_timeout=settings.database_statement_seconds)
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


async def _give_back(pool: asyncpg.Pool, connection: asyncpg.pool.PoolConnectionProxy) -> None:
    """What was done is done, also when the connection breaks while it is tidied up: the pool ends it, and makes another."""
    try:
        await pool.release(connection)
    except _PASSING as error:
        log.warning("a connection to the database was given up", error=type(error).__name__)


def _end(connection: Connection) -> None:
    with suppress(asyncpg.InterfaceError):  # it broke, and is out of the pool already
        connection.terminate()


async def _commit(connection: Connection, transaction: asyncpg.transaction.Transaction) -> None:
    try:
        await transaction.commit()
    except (*_NO_ANSWER, asyncpg.PostgresConnectionError, asyncpg.exceptions.OperatorInterventionError) as error:
        _end(connection)
        raise OutcomeUnknown(
            f"The database did not say whether it stored the change ({type(error).__name__}). Send the request again: a process, upload or"
            " cancellation is the same one when it is asked for again; of keys and secrets look first at what is there.",
            retry_after=2,
        ) from error


async def _initialize(connection: asyncpg.Connection) -> None:
    await connection.set_type_codec(
        "jsonb", encoder=lambda value: canonical_json(value).decode(), decoder=json.loads, schema="pg_catalog", format="text"
    )


async def _leave_as_it_is(_: asyncpg.Connection) -> None:
    """Nothing that we set outlives its transaction: what asyncpg resets by default would cost a round trip for nothing."""


def _unavailable(error: BaseException) -> Unavailable:
    return Unavailable(
        f"The database does not answer ({type(error).__name__}); nothing was changed. Send the request again.", retry_after=2
    )
