"""The least that could accept a process: no framework, no check, five INSERTs in one transaction. What the API is measured against."""

import asyncio
import json
import multiprocessing
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import uvicorn

from stratum.local.ports import choose_port
from tests.control_plane.waiting import eventually

TABLES = ("process", "step", "attempt", "claim", "event")


def serve(database_url: str, port: int) -> None:
    """Serve until killed."""
    pool: Any = None
    opening = asyncio.Lock()

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        nonlocal pool
        if scope["type"] != "http":
            return
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        async with opening:
            pool = pool or await asyncpg.create_pool(database_url, max_size=10)
        async with pool.acquire() as connection, connection.transaction():
            for table in TABLES:
                await connection.execute(f"INSERT INTO bare_load.{table} (body) VALUES ($1)", json.loads(body)["output_dataset"])  # noqa: S608 - fixed names
        await send({"type": "http.response.start", "status": 202, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"{}"})

    uvicorn.run(app, host="127.0.0.1", port=port, log_config=None, access_log=False, lifespan="off")  # type: ignore[arg-type]


@asynccontextmanager
async def bare_handler(database_url: str) -> AsyncIterator[str]:
    """Its URL inside the block; its tables are gone afterwards."""
    sql = await asyncpg.connect(database_url)
    port = choose_port(set())
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(database_url, port), daemon=True)
    try:
        await sql.execute("CREATE SCHEMA IF NOT EXISTS bare_load")
        for table in TABLES:
            await sql.execute(f"CREATE TABLE bare_load.{table} (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body text)")
        process.start()
        await eventually(lambda: _answers(port), 60, "the bare handler")
        yield f"http://127.0.0.1:{port}"
    finally:
        if process.pid is not None:
            process.kill()
            process.join()
        await sql.execute("DROP SCHEMA IF EXISTS bare_load CASCADE")
        await sql.close()


async def _answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
