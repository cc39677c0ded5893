"""`python -m control_plane leftovers`: what is left over, for an operator to read; with `--remove`, to be rid of it."""

from control_plane.database import Database
from control_plane.settings import LeftoverSettings
from control_plane.storage import Storage
from control_plane.sweeper.sweep import leftovers
from control_plane.sweeper.sweeper import Sweeper
from control_plane.sweeper.tally import Tally


async def run(settings: LeftoverSettings, *, remove: bool) -> Tally:
    """Look, and remove what policy lets go when `remove`."""
    database = Database(settings)
    try:
        return await leftovers(Sweeper(settings, database, Storage(settings)), remove=remove)
    finally:
        await database.close()


def lines(tally: Tally) -> list[str]:
    """The figures for a person."""
    if not tally.counts:
        return ["nothing is left over"]
    result = []
    for kind, count in sorted(tally.counts.items()):
        result.append(
            f"{kind.value}: found {count.found} ({_size(count.found_bytes)}), removed {count.removed} ({_size(count.removed_bytes)})"
        )
        result += [f"  kept {number}: {why}" for why, number in sorted(count.kept.items())]
    return [*result, *(f"removed {name}" for name in tally.removed_names), *(f"kept {name}" for name in tally.kept_names)]


def _size(number: int) -> str:
    for unit, scale in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if number >= scale:
            return f"{number / scale:.1f} {unit}"
    return f"{number} B"
