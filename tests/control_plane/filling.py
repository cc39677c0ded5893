"""Many waiting processes at once: copies of one that was accepted, made by SQL."""

import asyncpg

from contracts.identifiers import new_id

_COLUMNS = "SELECT column_name FROM information_schema.columns WHERE table_name = $1 AND table_schema = 'public' AND is_identity = 'NO'"
_TABLES = {
    "processes": ("id", "n.id", "work_digest", "n.id::text"),
    "steps": ("process_id", "n.id"),
    "attempts": ("process_id", "n.id"),
    "outbox": ("process_id", "n.id"),
}


async def fill(sql: asyncpg.Connection, process_id: str, number: int) -> list[str]:
    """`number` processes like the one named, younger than it; returns their ids, the oldest first."""
    ids = [new_id() for _ in range(number)]
    for table, changes in _TABLES.items():
        changed = dict(zip(changes[::2], changes[1::2], strict=True))
        columns = [row["column_name"] for row in await sql.fetch(_COLUMNS, table)]
        values = ", ".join(changed.get(column, f"o.{column}") for column in columns)
        key = "id" if table == "processes" else "process_id"
        await sql.execute(
            f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM {table} o, unnest($1::uuid[]) AS n (id) WHERE o.{key} = $2",
            ids,
            process_id,
        )
    await sql.execute("ANALYZE processes, attempts, steps, outbox")
    return [str(each) for each in ids]
