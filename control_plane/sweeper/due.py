"""What the database says is due to be swept, batch by batch, and whether it is its tenant's turn."""

from collections.abc import AsyncIterator
from typing import Any

from control_plane.sweeper.sweeper import Sweeper
from control_plane.sweeper.tally import Kind, Tally

_BATCH = 100


async def rows_to_sweep(sweeper: Sweeper, query: Any, *order: str, **given: float) -> AsyncIterator[dict[str, Any]]:
    """What is to be swept, in batches. Each begins behind the last one: what could not be swept holds up nothing behind it.

    Args:
        order: the columns that the rows of the query are ordered by.
        given: further parameters of the query.
    """
    after: dict[str, Any] = dict.fromkeys(order)
    while True:
        async with sweeper.database.connection() as connection:
            found = query(connection, limit=_BATCH, **given, **after)
            rows = [dict(row) async for row in found]
        for row in rows:
            sweeper.turns.beat()
            yield row
        if len(rows) < _BATCH:
            return
        after = {name: rows[-1][name] for name in order}


def is_next(sweeper: Sweeper, tally: Tally, tenant: str, kind: Kind) -> bool:
    """Whether this sweep goes on with the tenant's left-overs."""
    return tenant not in tally.unreachable and not sweeper.turns.is_over(tenant, kind)
