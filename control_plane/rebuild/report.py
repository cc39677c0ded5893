"""What a rebuild found."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Report:
    """Datasets by what became of them. Names are `tenant: entity/version/dataset`."""

    known: int = 0
    registered: list[str] = field(default_factory=list)
    conflicts: dict[str, str] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """As it is printed with `--json`."""
        return {"known": self.known, "registered": self.registered, "conflicts": self.conflicts}

    def lines(self, *, dry_run: bool) -> list[str]:
        """As a person reads it."""
        done = "would be registered" if dry_run else "registered"
        return [
            f"{self.known} known, {len(self.registered)} {done}, {len(self.conflicts)} to be looked at",
            *(f"{done}: {name}" for name in self.registered),
            *(f"to be looked at: {name}: {why}" for name, why in sorted(self.conflicts.items())),
        ]
