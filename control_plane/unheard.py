"""A run whose last report nobody heard: its proposal, if it left one, stands in for it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from contracts.command import AttemptRef
from contracts.states import AttemptState
from control_plane import lifecycle
from control_plane.database import Connection, Database
from control_plane.lifecycle import Current

ProposalLookup = Callable[[Current], Awaitable[bool]]
"""Whether the granted run left a proposal; asks the object store."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the store said of a run, if there was one. Asked while nothing is locked: a slow store keeps no report waiting."""

    run_id: str | None
    left_proposal: bool

    def is_about(self, current: Current) -> bool:
        """Whether there is nothing more to ask. Only a run that was granted meanwhile may have left something unseen."""
        return current.attempt_state is not AttemptState.STARTED or current.run_id == self.run_id


async def ask(database: Database, has_proposal: ProposalLookup, ref: AttemptRef) -> Asked:
    """Look for the proposal of the run that was granted the attempt; raises `StorageUnavailable`."""
    async with database.transaction() as connection:
        current = await lifecycle.lock(connection, ref.process_id, ref.tenant)
    if current is None or not current.is_about(ref) or current.attempt_state is not AttemptState.STARTED:
        return Asked(None, left_proposal=False)
    return Asked(current.run_id, await has_proposal(current))


async def finished(connection: Connection, current: Current, asked: Asked) -> bool:
    """Seal what the run left, unless it left nothing: then false, and it may be given up."""
    if current.attempt_state is not AttemptState.STARTED or not asked.left_proposal:
        return False
    return await lifecycle.sealing(connection, current, None, current.last_sequence, witness="proposal")
