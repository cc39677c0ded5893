"""The chaos table on real parts: whatever is broken, the oracle has nothing to say, and the history is the one that the row names."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.chaos import faults_acceptance, faults_disk, faults_runs, faults_sealing, faults_store
from tests.chaos.fleet import whole
from tests.chaos.ledger import Ledger
from tests.chaos.stage import Stage
from tests.chaos.table import FAULTS

ROWS_OF = (faults_acceptance, faults_disk, faults_runs, faults_sealing, faults_store)
"""Their import fills the table."""


@pytest_asyncio.fixture(loop_scope="session")
async def stage(shared: Stage) -> AsyncIterator[Stage]:
    """The shared stage with a tenant and a ledger of the row's own; whole again afterwards."""
    shared.caller = await shared.installation.tenant(shared.caller.client)
    await shared.caller.ingest()
    shared.ledger = shared.fleet.ledger = Ledger()
    shared.fleet.play = whole
    yield shared
    shared.network.heal()
    for part in (shared.relay, shared.reconcile):
        if not part.is_running:
            await part.restart()


ROWS = [
    pytest.param(name, marks=[] if row.smoke else [pytest.mark.slow, pytest.mark.timeout(900)], id=name) for name, row in FAULTS.items()
]


@pytest.mark.parametrize("name", ROWS)
async def test_nothing_is_lost(name: str, stage: Stage) -> None:
    row = FAULTS[name]
    ids = await row.body(stage)
    assert await stage.verdict(ids) == []
    assert {tuple(await stage.history(process_id)) for process_id in ids} <= set(row.histories)
    for part in (stage.relay, stage.reconcile):
        part.check()
