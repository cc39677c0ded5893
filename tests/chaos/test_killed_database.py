"""PostgreSQL itself is killed, as by the fall of its machine, with a COMMIT on its way."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from stratum.local.postgres import Postgres
from tests.chaos.histories import WHOLE, is_one_of
from tests.chaos.servers import Server, database_in
from tests.chaos.stage import Stage, staged
from tests.chaos.table import COMMIT, MANIFEST, sprung
from tests.chaos.traps import Trap, Verdict
from tests.control_plane.conftest import new_installation
from tests.control_plane.waiting import eventually
from tests.figures import report
from tests.services import Services

RECOVERY_SECONDS = 180
"""In which a supervisor has started it again, and it has replayed its log."""


def killer(server: Server[Postgres], lives: list[int]) -> Callable[[], None]:
    """Kills the server with all its processes at once; keeps the pid that it had."""

    def kill() -> None:
        lives.append(server.pid)
        postmaster = psutil.Process(server.pid)
        for process in (postmaster, *postmaster.children(recursive=True)):
            process.kill()

    return kill


def of_an_acceptance(stage: Stage, verdict: Verdict, kill: Callable[[], None]) -> list[Trap]:
    """A trap for the next COMMIT of the API."""
    return [stage.wire("api_postgres").trap(COMMIT, verdict, then=kill)]


def of_a_seal(stage: Stage, verdict: Verdict, kill: Callable[[], None]) -> list[Trap]:
    """A trap for the reconciler's COMMIT that follows a manifest."""
    traps: list[Trap] = []
    wire = stage.wire("reconcile_postgres")
    stage.wire("reconcile_s3").trap(MANIFEST, then=lambda: traps.append(wire.trap(COMMIT, verdict, then=kill)))
    return traps


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_a_database_that_is_killed_with_a_commit_on_its_way(services: Services, signing_key_file: str, tmp_path: Path) -> None:
    """Of an acceptance and of a seal; before the server has it (`cut`), and when it is done and the answer is on its way back."""
    verdicts: tuple[Verdict, ...] = ("cut", "lose_answer")
    lives: list[int] = []
    with database_in(tmp_path / "postgres", tmp_path / "server") as server:
        installation = await new_installation(replace(services, database_url=server.service.url), None, signing_key_file)
        async with staged(installation, tmp_path) as stage:
            ids: list[str] = []
            for set_trap in (of_an_acceptance, of_a_seal):
                for verdict in verdicts:
                    traps = set_trap(stage, verdict, killer(server, lives))
                    ids += await stage.accept(1, first=len(ids))
                    await eventually(lambda traps=traps: _is_set(traps), RECOVERY_SECONDS, "a COMMIT to come")
                    await sprung(stage, traps[0], f"kill at the COMMIT of {set_trap.__name__}, {verdict}")
                    await eventually(server.serves, RECOVERY_SECONDS, "a database that was started again", pause=0.5)
                    async with installation.sql() as stage.sql:
                        await stage.settled(ids, RECOVERY_SECONDS)
            assert len({*lives, server.pid}) == 5, "four lives ended"
            async with installation.sql() as stage.sql:
                assert await stage.verdict(ids) == []
                assert all([is_one_of(await stage.history(process_id), [WHOLE]) for process_id in ids])
                count = await stage.sql.fetchval("SELECT count(*) FROM processes WHERE tenant = $1", stage.caller.tenant)
                assert count == len(ids), "what was not answered was accepted once all the same"
                for part in (stage.relay, stage.reconcile):
                    part.check()
    report("PostgreSQL killed with a COMMIT on its way", f"{len(lives)} lives, {len(ids)} processes, all of them succeeded")


async def _is_set(traps: list[Trap]) -> bool:
    await asyncio.sleep(0)
    return bool(traps)
