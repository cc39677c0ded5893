"""The edge to PostgreSQL: one short connection a look."""

import asyncio
from typing import Any

import asyncpg

from stratum.preflight.errors import Unreachable

SECONDS = 10.0


def fetch(url: str, statement: str, *arguments: object) -> list[Any]:
    """The rows of one statement.

    Raises:
        Unreachable: no connection, or the statement was refused.
    """
    return asyncio.run(_fetch(url, statement, arguments))


async def _fetch(url: str, statement: str, arguments: tuple[object, ...]) -> list[Any]:
    connection = await connect(url)
    try:
        return list(await connection.fetch(statement, *arguments, timeout=SECONDS))
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise Unreachable(words(error)) from error
    finally:
        await connection.close(timeout=SECONDS)


async def connect(url: str) -> asyncpg.Connection:
    """A connection; raises `Unreachable`."""
    try:
        return await asyncpg.connect(url, timeout=SECONDS)
    except (OSError, TimeoutError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise Unreachable(words(error)) from error


def words(error: BaseException) -> str:
    """The first line of what went wrong."""
    return (str(error).splitlines() or [type(error).__name__])[0]
