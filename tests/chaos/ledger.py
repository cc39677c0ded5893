"""What the runs of a chaos test did and were told: the witness against which the control plane's own story is held."""

from collections import defaultdict
from dataclasses import dataclass, field


@dataclass
class Ledger:
    """`accepted`: answers 202. `granted`: runs that were told they may write. `finished`: runs whose last report was taken.

    `alive`: runs that live whatever is said of them. `intruders`: runs that should have been refused and were not.
    """

    accepted: list[str] = field(default_factory=list)
    granted: dict[tuple[str, int], set[str]] = field(default_factory=lambda: defaultdict(set))
    finished: dict[tuple[str, int], set[str]] = field(default_factory=lambda: defaultdict(set))
    alive: set[tuple[str, int]] = field(default_factory=set)
    intruders: list[str] = field(default_factory=list)
