"""What all work of the `reconcile` role shares."""

import asyncio
from dataclasses import dataclass, field
from functools import partial
from uuid import UUID

from contracts.event import JobEnded
from contracts.pulse import Pulse
from control_plane import proposals
from control_plane.database import Database
from control_plane.lifecycle import Current
from control_plane.settings import ReconcileSettings
from control_plane.storage import Storage
from control_plane.sweeper.turns import TENANT_SECONDS, SweepTurns


@dataclass(frozen=True, slots=True)
class Reconciler:
    """The parts of the role.

    Attributes:
        left: ends of jobs whose tenant's store could not be asked for what the run left, to be taken up again. Only remembered: of
            those that are forgotten a later list of jobs tells, though not how they ended.
        sweep_turns: whose left-overs are swept, for how long, and the pulse of that.
        seal_turns: tenants, in the order of the last turns that this replica gave them to have something sealed.
    """

    settings: ReconcileSettings
    database: Database
    storage: Storage
    pulse: Pulse = field(default_factory=Pulse)
    left: dict[tuple[UUID, int, int], JobEnded] = field(default_factory=dict)
    seal_turns: dict[str, None] = field(default_factory=dict)
    sweep_turns: SweepTurns = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sweep_turns", SweepTurns(partial(self.pulse.beat, "sweep"), TENANT_SECONDS))

    def took_turn(self, tenant: str) -> None:
        """Something of the tenant is sealed now: those of others come first, until each of them has had a turn."""
        self.seal_turns.pop(tenant, None)
        self.seal_turns[tenant] = None

    async def has_proposal(self, current: Current) -> bool:
        """Whether the granted run of `current` left a proposal."""
        return await asyncio.to_thread(proposals.exists, self.storage, current)
