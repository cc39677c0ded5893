"""Jobs that live on although their attempt ended long ago, and cancelled ones that nobody tells of: the word to end them was lost.

Of those that have no attempt at all, the same lists tell: `strays.py`.
"""

from contracts.event import Relist
from control_plane.database import Database, queries
from control_plane.strays import note_strays


async def end_zombies(database: Database, relist: Relist) -> int:
    """Tell the launcher, once in ten minutes, to end those that a complete list still shows or that a cancel waits for. Returns how many.

    Those without an attempt are noted for the sweeper, and not told anything yet.

    Where the launcher could not look, it left a cancel without an answer, and no list tells of a job that may never have been made.
    """
    refs = {
        "process_ids": [ref.process_id for ref in relist.live],
        "steps": [ref.step for ref in relist.live],
        "attempts": [ref.attempt for ref in relist.live],
    }
    async with database.transaction() as connection:
        await note_strays(connection, relist)
        told: int = await queries.end_zombies(connection, began_at=relist.began_at, **refs)
        return told
