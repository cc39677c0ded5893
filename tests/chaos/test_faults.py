"""The chaos table on real parts: whatever is broken, the oracle has nothing to say, and the history is the one that the row names."""

from collections.abc import AsyncIterator, Generator

import pytest
import pytest_asyncio

from tests.chaos import faults_acceptance, faults_disk, faults_forged, faults_kills, faults_runs, faults_sealing, faults_store
from tests.chaos.fleet import whole
from tests.chaos.histories import is_one_of
from tests.chaos.ledger import Ledger
from tests.chaos.stage import Stage
from tests.chaos.table import FAULTS
from tests.chaos.wire import Wire
from tests.control_plane.launcher import Launcher
from tests.figures import report

ROWS_OF = (faults_acceptance, faults_disk, faults_forged, faults_kills, faults_runs, faults_sealing, faults_store)
"""Their import fills the table."""


@pytest_asyncio.fixture(loop_scope="session")
async def stage(shared: Stage) -> AsyncIterator[Stage]:
    """The shared stage with a tenant and a ledger of the row's own; whole again afterwards."""
    shared.caller = await shared.installation.tenant(shared.caller.client)
    await shared.caller.ingest()
    shared.ledger = shared.fleet.ledger = Ledger()
    shared.fleet.play = whole
    shared.forget()
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
    assert stage.evidence, "the row shows no sign of its fault"
    report(f"fault: {name}", ", ".join(f"{number} × {what}" for what, number in stage.evidence.items()))
    assert await stage.verdict(ids) == []
    for process_id in ids:
        history = await stage.history(process_id)
        assert is_one_of(history, row.histories), history
    for part in (stage.relay, stage.reconcile):
        part.check()


TAKEN_OUT = {
    "store and database are slow": (Wire, "delay"),
    "connections break in the middle of a message, everywhere": (Wire, "cut_after"),
    "the last report races the list of jobs that calls the run lost": (Launcher, "relist"),
    "events twice, in the wrong order, late, of others, unreadable and too long": (Launcher, "say"),
}
"""Faults that leave no other trace than what their row looks for."""


@pytest.mark.slow
@pytest.mark.parametrize("name", TAKEN_OUT)
async def test_a_row_whose_fault_was_taken_out_fails(name: str, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(*TAKEN_OUT[name], nothing)
    with pytest.raises(AssertionError, match=r"no sign of|did not come"):
        await FAULTS[name].body(stage)


class Nothing:
    def __await__(self) -> Generator[None, None, None]:
        yield


def nothing(*_: object, **__: object) -> Nothing:
    """In the fault's place: it may be awaited, and nothing is done."""
    return Nothing()
