"""How long each tenant is swept in one sweep: nobody's left-overs, however many they are, keep those of others waiting for ever."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf

from contracts.pulse import Beat, unwatched
from control_plane.errors import TurnOver
from control_plane.sweeper.tally import Kind

TENANT_SECONDS = 600
"""Of one sweep for one kind of one tenant's left-overs. What is left then is for a later sweep."""


@dataclass(slots=True)
class SweepTurns:
    """The tenants' turns of one sweep, and the pulse of who sweeps: it beats for each step, however many there are.

    Attributes:
        beat: called for each step.
        seconds: how long a turn is. The step in hand is finished.
        clock: monotonic.
    """

    beat: Beat = unwatched
    seconds: float = inf
    clock: Callable[[], float] = time.monotonic
    _spent: dict[tuple[str, Kind], float] = field(default_factory=dict)
    _reached: dict[tuple[str, Kind], str] = field(default_factory=dict)
    _current: tuple[str, Kind] | None = None
    _since: float = 0.0

    def begin(self) -> None:
        """A sweep begins: everybody has all of its time again."""
        self._spent.clear()

    @contextmanager
    def of(self, tenant: str, kind: Kind) -> Iterator[None]:
        """What is done inside is done for that tenant. Not to be nested."""
        self.beat()
        self._current, self._since = (tenant, kind), self.clock()
        try:
            yield
        finally:
            self._spent[tenant, kind] = self._so_far()
            self._current = None

    def is_over(self, tenant: str, kind: Kind) -> bool:
        """Whether the tenant has had its turn."""
        return (self._so_far() if self._current == (tenant, kind) else self._spent.get((tenant, kind), 0.0)) >= self.seconds

    def step(self) -> None:
        """One more page, or piece: a good place to stop.

        Raises:
            TurnOver: the tenant has had its turn.
        """
        self.beat()
        if self._current is not None and self.is_over(*self._current):
            raise TurnOver("the tenant's turn is over")

    def goes_on_behind(self) -> str:
        """The key behind which this turn is to begin: empty, unless the tenant's last one ended before it had looked at everything."""
        return "" if self._current is None else self._reached.get(self._current, "")

    def reached(self, key: str) -> None:
        """Everything up to that key was dealt with: should the turn end here, the tenant's next one goes on behind it."""
        if self._current is not None:
            self._reached[self._current] = key

    def finished(self) -> None:
        """Everything was looked at: the tenant's next turn begins at the beginning."""
        if self._current is not None:
            self._reached.pop(self._current, None)

    def _so_far(self) -> float:
        current = self._current
        return 0.0 if current is None else self._spent.get(current, 0.0) + self.clock() - self._since
