"""A full disk under a real PostgreSQL: first its tables cannot grow, then its log cannot, and it falls and cannot rise again."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import asyncpg
import httpx
import pytest

from stratum.local.ports import choose_port
from stratum.local.postgres import SUPERUSER, Postgres
from stratum.local.supervisor import Supervisor
from tests.chaos.small_disk import SmallDisk, small_disk
from tests.chaos.stage import Stage, staged
from tests.control_plane.conftest import new_installation
from tests.control_plane.waiting import eventually
from tests.services import Services

DISK_MEBIBYTES = 320
QUICK_SECONDS = 10
"""Within it every answer came, whatever the database did: its statements may take fifteen seconds."""
_NEXT_SEGMENT = "SELECT pg_switch_wal(), pg_logical_emit_message(true, 'chaos', 'a record for the next segment')"


@dataclass(frozen=True)
class Server:
    """A PostgreSQL that is started again whenever it falls."""

    postgres: Postgres
    supervisor: Supervisor

    @property
    def log(self) -> str:
        """All that it said."""
        return self.supervisor.log_file("postgres").read_text(errors="replace")

    async def use_up_its_log(self) -> None:
        """Make it need a new segment of its write-ahead log again and again, until it falls for want of one."""
        try:
            connection = await asyncpg.connect(self.postgres.url, user=SUPERUSER, password=self.postgres.superuser_password, timeout=5)
            for _ in range(100):
                await connection.execute(_NEXT_SEGMENT, timeout=30)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return
        raise AssertionError("there was always room for its log")


@contextmanager
def server_on(disk: SmallDisk, home: Path) -> Iterator[Server]:
    """A PostgreSQL with its data on the disk, inside the block."""
    postgres = Postgres(disk.folder / "postgres", choose_port(set()), "password", "superuser-password")
    postgres.prepare()
    supervisor = Supervisor(home)
    supervisor.launch([postgres.program()])
    try:
        supervisor.start("postgres")
        with ThreadPoolExecutor(1) as thread:  # it runs an event loop of its own, and the test runs in one
            thread.submit(supervisor.await_ready, "postgres", postgres.check, 60).result()
            thread.submit(postgres.ensure_roles).result()
        yield Server(postgres, supervisor)
    finally:
        disk.make_room()
        supervisor.shutdown()


async def asked(stage: Stage, number: int) -> httpx.Response:
    """The answer to a new request: accepted, or refused in a way that says when to come again; soon in any case."""
    answer = await stage.caller.run(number, output_dataset=f"filtered-{number}", labels={"padding": "x" * 60})
    assert answer.elapsed.total_seconds() < QUICK_SECONDS, answer.text
    if answer.status_code == 202:
        stage.ledger.accepted.append(answer.json()["id"])
        return answer
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["Retry-After"]) >= 1
    return answer


@pytest.mark.slow
async def test_a_full_disk_under_the_database(services: Services, signing_key_file: str, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", DISK_MEBIBYTES) as disk, server_on(disk, tmp_path / "server") as server:
        installation = await new_installation(replace(services, database_url=server.postgres.url), None, signing_key_file)
        async with staged(installation, tmp_path) as stage:
            await stage.accept(2)
            assert disk.fill() > 0
            for number in range(2, 300):
                if (await asked(stage, number)).status_code == 503:
                    break
            assert re.search("ERROR: .*No space left on device", server.log), "its tables always had room"
            assert len(stage.ledger.accepted) >= 2

            await server.use_up_its_log()
            assert re.search("PANIC: .*No space left on device", server.log), "it did not fall"
            assert (await asked(stage, 300)).status_code == 503
            assert (await stage.caller.get("/v1/processes")).status_code == 503

            disk.make_room()
            await eventually(lambda: _accepts(stage), 60, "an acceptance")
            async with installation.sql() as stage.sql:
                # what was refused with "the outcome is unknown" may be there too, and must end as well
                rows = await stage.sql.fetch("SELECT id FROM processes WHERE tenant = $1", stage.caller.tenant)
                ids = [str(row["id"]) for row in rows]
                assert set(stage.ledger.accepted) <= set(ids), "what was accepted is gone"
                assert await stage.verdict(ids) == []
                for part in (stage.relay, stage.reconcile):
                    part.check()


async def _accepts(stage: Stage) -> bool:
    return (await asked(stage, 301)).status_code == 202
