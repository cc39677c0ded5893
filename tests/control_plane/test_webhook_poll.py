"""What a look for due deliveries costs goes by what is due, not by how many hosts wait."""

import json
from typing import Any

import asyncpg

from control_plane.database import queries
from tests.control_plane.caller import Caller
from tests.control_plane.installation import Installation

HOSTS = 5_000


async def _waiting(sql: asyncpg.Connection, caller: Caller) -> None:
    """A delivery for each of many hosts, none of them due."""
    async with sql.transaction():
        # of processes that need not be there
        await sql.execute("ALTER TABLE webhook_deliveries DROP CONSTRAINT webhook_deliveries_process_id_fkey")
        await sql.execute(
            "INSERT INTO webhook_deliveries (id, tenant, process_id, type, url, host, due_at)"
            " SELECT gen_random_uuid(), $1, gen_random_uuid(), 'process.failed', 'https://h' || n, 'h' || n, now() + interval '1 hour'"
            " FROM generate_series(1, $2::integer) n",
            caller.tenant,
            HOSTS,
        )
    await sql.execute("VACUUM ANALYZE webhook_deliveries")


async def _pages(sql: asyncpg.Connection) -> int:
    """How many pages one poll reads."""
    (plan,) = json.loads(await sql.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {queries.take_webhooks.sql}", 50, 5, 20, 80.0))
    node: dict[str, Any] = plan["Plan"]
    return int(node["Shared Hit Blocks"]) + int(node["Shared Read Blocks"])


async def test_hosts_that_wait_cost_a_poll_no_search_each(still: Installation) -> None:
    async with still.api() as client, still.sql() as sql:
        caller = await still.tenant(client)
        await _waiting(sql, caller)
        assert await _pages(sql) < HOSTS / 5
        await sql.execute("UPDATE webhook_deliveries SET due_at = now() WHERE host IN ('h1', 'h77', 'h4999')")
        taken = [row["url"] async for row in queries.take_webhooks(sql, room=50, per_host=5, per_tenant=20, lease_seconds=80.0)]
        assert sorted(taken) == ["https://h1", "https://h4999", "https://h77"]
