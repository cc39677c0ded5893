"""The chaos table. A row: a fault, the evidence that it was there, and the history that its processes must have all the same.

The rows are in `faults_*.py`. Each accepts its processes, breaks something, counts the signs that it was broken (`Stage.saw`: a fault that
was not there would prove nothing), and returns the ids of the processes. What must hold of them is not the row's to say: see `oracle.py`.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.chaos.histories import WHOLE
from tests.chaos.parts import Part
from tests.chaos.stage import Stage
from tests.chaos.traps import Trap
from tests.control_plane.waiting import eventually

COMMAND = rb'"kind":"run"'
COMMIT = rb"COMMIT;"
MANIFEST = rb"PUT /[^ ]+_manifest\.json"

Body = Callable[[Stage], Awaitable[list[str]]]


@dataclass(frozen=True)
class Fault:
    """One row. `histories`: patterns of those that are right; more than one where two parts race. `smoke`: also part of `make test`."""

    name: str
    body: Body
    histories: tuple[str, ...]
    smoke: bool


FAULTS: dict[str, Fault] = {}


def fault(name: str, *histories: str, smoke: bool = False) -> Callable[[Body], Body]:
    """Add a row. Without a history of its own, its processes succeed as if nothing had been."""

    def add(body: Body) -> Body:
        assert name not in FAULTS, f"two rows are named {name!r}"
        FAULTS[name] = Fault(name, body, histories or (WHOLE,), smoke)
        return body

    return add


async def sprung(stage: Stage, trap: Trap, what: str, times: int = 1) -> None:
    """Wait until the bytes have come: the evidence. `what`: what was done to them."""

    async def look() -> bool:
        return trap.sprung >= times

    await eventually(look, 60, f"the trap {trap.pattern.pattern!r}")
    stage.saw(trap.sprung, what)


async def heard(stage: Stage, part: Part, event: str, what: str) -> None:
    """Wait until a part has logged the event: evidence from the one that met the fault."""

    async def look() -> bool:
        return part.said(event) > 0

    await eventually(look, 60, f"{event!r} in the log of {part.role}")
    stage.saw(part.said(event), what)


async def until(stage: Stage, query: str, ids: list[str], what: str) -> None:
    """Wait until a query about the processes is true."""
    await eventually(lambda: stage.sql.fetchval(query, ids), 60, what)
