"""Hours that pass at once: the database tells another time, to everybody."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.chaos.stage import Stage

_CLOCK = """
CREATE SCHEMA later;
CREATE FUNCTION later.clock_timestamp() RETURNS timestamptz VOLATILE LANGUAGE sql
    AS $$ SELECT pg_catalog.clock_timestamp() + interval '{seconds} s' $$;
GRANT USAGE ON SCHEMA later TO PUBLIC"""
_USE = """
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = later, pg_catalog, public', current_database()); END $$"""
_RESET = """
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I RESET search_path', current_database()); END $$;
DROP SCHEMA later CASCADE"""


@asynccontextmanager
async def later(stage: Stage, seconds: int) -> AsyncIterator[None]:
    """So much later, for every connection that is made inside the block; those of the roles are cut, so that they make new ones."""
    await stage.sql.execute(_CLOCK.format(seconds=seconds))
    try:
        await stage.sql.execute(_USE)
        _connect_anew(stage)
        yield
    finally:
        await stage.sql.execute(_RESET)
        _connect_anew(stage)


def _connect_anew(stage: Stage) -> None:
    for role in ("api", "relay", "reconcile"):
        stage.wire(f"{role}_postgres").cut()
