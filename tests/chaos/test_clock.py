"""No decision is taken on a role's own clock: by construction, and with clocks that are ten minutes wrong."""

import ast
from pathlib import Path

import pytest

import control_plane
from tests.chaos.histories import WHOLE, is_one_of
from tests.chaos.stage import staged
from tests.control_plane.installation import Installation

CLOCKS = {"now", "utcnow", "today", "time", "time_ns"}


def _readings(source: str) -> list[str]:
    """Calls that read the clock of the machine: `datetime.now()`, `time.time()` and their kin.

    Not those of a command that a person runs by hand, with its result before that person's eyes.
    """
    tree = ast.parse(source)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    by_hand = [node for node in functions if "commands.command()" in map(ast.unparse, node.decorator_list)]
    skipped = {id(node) for command in by_hand for node in ast.walk(command)}
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call) and id(node) not in skipped]
    found = [call for call in calls if isinstance(call, ast.Attribute) and call.attr in CLOCKS]
    return [ast.unparse(call) for call in found if ast.unparse(call.value) in ("datetime", "time", "date", "datetime.datetime")]


def test_the_control_plane_never_reads_a_clock_of_its_own() -> None:
    files = Path(control_plane.__file__).parent.rglob("*.py")
    assert {str(file): found for file in files if (found := _readings(file.read_text()))} == {}


def test_a_reading_would_be_seen() -> None:
    assert _readings("from datetime import datetime\nx = datetime.now(UTC)\ny = time.time()") == ["datetime.now", "time.time"]


@pytest.mark.slow
@pytest.mark.parametrize("clock", [-600, 600])
async def test_relay_and_reconciler_with_a_wrong_clock(clock: float, empty: Installation, tmp_path: Path) -> None:
    async with staged(empty, tmp_path, clock=clock) as stage:
        ids = await stage.accept(3)
        assert await stage.verdict(ids) == []
        assert all([is_one_of(await stage.history(process_id), [WHOLE]) for process_id in ids])
