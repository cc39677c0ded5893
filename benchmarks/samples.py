"""What a soak measures again and again, of every part of a platform."""

import time
from collections import defaultdict
from pathlib import Path

import asyncpg
import psutil

Series = dict[str, list[tuple[float, float]]]


class Samples:
    """Series by name, as `(seconds since the begin, value)`. A part that runs for less than `warm_seconds` still warms up: it has none."""

    def __init__(self, home: Path, database_url: str, warm_seconds: float) -> None:
        self._home = home
        self._url = database_url
        self._warm_seconds = warm_seconds
        self._begin = time.monotonic()
        self.series: Series = defaultdict(list)

    def _add(self, name: str, value: float) -> None:
        self.series[name].append((time.monotonic() - self._begin, value))

    async def take(self, pids: dict[str, int]) -> None:
        """One sample of everything. A part that is dead right now has none."""
        for part, pid in pids.items():
            try:
                process = psutil.Process(pid)
                if time.time() - process.create_time() < self._warm_seconds:
                    continue
                self._add(f"{part}: memory (PSS, MiB)", process.memory_full_info().pss / 2**20)
                self._add(f"{part}: open files", process.num_fds())
            except psutil.Error:
                continue
        scratch = list((self._home / "jobs").glob("*/scratch/*"))
        self._add("files of jobs (scratch)", len(scratch))
        try:
            await self._database()
        except (OSError, asyncpg.PostgresError):
            return  # it was killed a moment ago

    async def _database(self) -> None:
        sql = await asyncpg.connect(self._url, timeout=3)
        try:
            self._add(
                "postgres: connections", await sql.fetchval("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
            )
            processes = await sql.fetchval("SELECT count(*) FROM processes")
            tables = "SELECT sum(pg_total_relation_size(relid)) FROM pg_stat_user_tables"
            if processes:
                self._add("tables (bytes a process)", float(await sql.fetchval(tables)) / processes)
                topics = sum(file.stat().st_size for file in (self._home / "kafka" / "data").glob("stratum.*/*.log"))
                self._add("topics (bytes a process)", topics / processes)
        finally:
            await sql.close()
