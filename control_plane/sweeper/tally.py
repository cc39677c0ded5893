"""What a sweep found, removed and kept, by kind and reason."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from control_plane.errors import StorageUnavailable

_MOST_NAMES = 100


class Kind(StrEnum):
    """The kinds of left-overs."""

    RUN_FOLDER = "run folder"
    UNKNOWN_FOLDER = "folder that no row knows"
    UPLOAD = "expired upload"
    MULTIPART = "unfinished multipart upload"
    RETIRED = "files of a retired dataset"
    LOG = "log"
    JOB = "job"
    IDEMPOTENCY_KEY = "idempotency key"
    OUTBOX = "message"
    DELIVERY = "webhook delivery"
    EVENT = "event"
    REFUSED_CALLBACK = "refused callback"
    RECORD = "record of a sweep"
    MARK = "mark of a removed folder"


@dataclass(frozen=True, slots=True)
class Size:
    """How much of something: folders, objects or rows have a number of parts, and bytes."""

    objects: int = 0
    bytes: int = 0

    def __add__(self, other: "Size") -> "Size":
        return Size(self.objects + other.objects, self.bytes + other.bytes)


@dataclass(slots=True)
class Count:
    """The figures of one kind."""

    found: int = 0
    found_bytes: int = 0
    removed: int = 0
    removed_bytes: int = 0
    kept: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Tally:
    """The figures of one sweep. `remove` false: nothing is removed, what would be is counted as kept for that reason.

    Attributes:
        unreachable: by tenant, what was said of a store that could not be looked at to its end.
    """

    remove: bool
    counts: dict[Kind, Count] = field(default_factory=dict)
    removed_names: list[str] = field(default_factory=list)
    kept_names: list[str] = field(default_factory=list)
    unreachable: dict[str, StorageUnavailable] = field(default_factory=dict)

    def found(self, kind: Kind, size: Size, number: int = 1) -> None:
        """Something is left over."""
        count = self.counts.setdefault(kind, Count())
        count.found += number
        count.found_bytes += size.bytes

    def removed(self, kind: Kind, size: Size, name: str | None = None, number: int = 1) -> None:
        """It is gone. The first hundred names are kept for the record."""
        count = self.counts.setdefault(kind, Count())
        count.removed += number
        count.removed_bytes += size.bytes
        if name and len(self.removed_names) < _MOST_NAMES:
            self.removed_names.append(name)

    def kept(self, kind: Kind, why: str, number: int = 1, name: str | None = None) -> None:
        """It stays, and why. What nobody finds by its kind alone has a name; the first hundred are kept for the record."""
        kept = self.counts.setdefault(kind, Count()).kept
        kept[why] = kept.get(why, 0) + number
        if name and len(self.kept_names) < _MOST_NAMES:
            self.kept_names.append(name)

    def check_reached(self) -> None:
        """Raise what was said of the first store that could not be looked at."""
        for error in self.unreachable.values():
            raise error

    @property
    def anything_removed(self) -> bool:
        """Whether something is gone."""
        return any(count.removed for count in self.counts.values())

    def document(self) -> dict[str, Any]:
        """As it is stored and printed."""
        kinds = {
            kind.value: {
                "found": count.found,
                "bytes": count.found_bytes,
                "removed": count.removed,
                "removed_bytes": count.removed_bytes,
                "kept": count.kept,
            }
            for kind, count in self.counts.items()
            if count.found or count.removed or count.kept
        }
        return {"kinds": kinds, "removed": self.removed_names, "kept": self.kept_names}


NOT_ASKED = "would be removed (with --remove, or by the reconciler)"
"""Why a report keeps what a sweep would remove."""
