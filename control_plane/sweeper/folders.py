"""From a listing of a tenant's root to the folders of runs in it, and what is to be done with each. Pure functions."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby, islice
from re import fullmatch

from contracts.identifiers import IDENTIFIER_PATTERN
from contracts.layout import MANIFEST_NAME, DatasetPath, StorageRoot
from control_plane.storage import ObjectInfo
from control_plane.sweeper.tally import Size

MOST_RUNS = 100
"""Folders of one piece."""
MOST_PASSED = 10_000
"""Objects of another form that are passed over before that is said."""
_LAST = "\U0010ffff"
"""No key of a folder goes on with more than that."""


@dataclass(slots=True)
class RunFolder:
    """What lies in the folder of one run. `ours`: it holds nothing but what runs and uploads of Stratum write."""

    run_id: str
    newest: datetime
    size: Size = field(default_factory=Size)
    ours: bool = True

    def add(self, inside: Sequence[str], item: ObjectInfo) -> None:
        """One more object. `inside`: its key within the folder, by its parts."""
        self.size += Size(1, item.size)
        self.newest = max(self.newest, item.modified_at)
        self.ours = self.ours and (inside[-1].endswith(".parquet") or any(part.startswith("_") for part in inside))


@dataclass(frozen=True, slots=True)
class Piece:
    """Some folders of one dataset, as they follow one another. `path` None: none, and what was passed over is nobody's business here.

    `end`: a key behind all of it, and before all that follows, even when more comes into the last folder.
    """

    path: DatasetPath | None
    runs: tuple[RunFolder, ...]
    end: str


@dataclass(frozen=True, slots=True)
class Maker:
    """The attempt or upload whose folder it is. `over_since`: from then on none of its writers can be alive; None while it goes on."""

    over_since: datetime | None
    is_upload: bool = False


def pieces(root: StorageRoot, objects: Iterable[ObjectInfo]) -> Iterator[Piece]:
    """The folders of runs under a root, from its objects in the order of their keys: a few at once, whatever lies there.

    What has another form is nobody's business here.
    """
    for name, group in groupby(objects, key=lambda item: _dataset_of(root, item.key)):
        if name is None:
            for item in islice(group, MOST_PASSED - 1, None, MOST_PASSED):
                yield Piece(None, (), item.key)
            continue
        folders = _folders(root, group)
        while runs := tuple(islice(folders, MOST_RUNS)):
            path = root.dataset(*name)
            yield Piece(path, runs, path.run_prefix(runs[-1].run_id) + _LAST)


def sealed(root: StorageRoot, objects: Iterable[ObjectInfo]) -> Iterator[DatasetPath]:
    """The datasets under a root of which there are manifests."""
    for item in objects:
        name = _dataset_of(root, item.key)
        if name is not None and _parts(root, item.key)[3:] == [MANIFEST_NAME]:
            yield root.dataset(*name)


def _dataset_of(root: StorageRoot, key: str) -> tuple[str, str, str] | None:
    parts = _parts(root, key)
    if len(parts) < 4 or not all(map(_is_identifier, parts[:3])) or (len(parts) > 4 and not _is_identifier(parts[3])):
        return None
    entity_id, data_version, dataset = parts[:3]
    return entity_id, data_version, dataset


def _parts(root: StorageRoot, key: str) -> list[str]:
    return key.removeprefix(root.prefix).split("/")


def _is_identifier(text: str) -> bool:
    return len(text) <= 128 and fullmatch(IDENTIFIER_PATTERN, text) is not None


def _folders(root: StorageRoot, objects: Iterable[ObjectInfo]) -> Iterator[RunFolder]:
    """The folders of runs among a dataset's objects, one after the other."""
    inside = ((parts, item) for item in objects if len(parts := _parts(root, item.key)) > 4)
    for run_id, group in groupby(inside, key=lambda pair: pair[0][3]):
        folder: RunFolder | None = None
        for parts, item in group:
            folder = folder or RunFolder(run_id, item.modified_at)
            folder.add(parts[4:], item)
        if folder is not None:
            yield folder


def why_kept(
    folder: RunFolder, maker: Maker | None, now: datetime, grace: timedelta, unknown_grace: timedelta, *, unknown: bool
) -> str | None:
    """Why a folder that no manifest names stays; None: it goes.

    Args:
        maker: whose it is; None: no row knows.
        now: database time.
        grace: how long after its maker is over.
        unknown_grace: age of its newest object, where nobody knows the maker.
        unknown: whether policy lets such folders go.
    """
    if maker is not None:
        if maker.over_since is None:
            return "its run or upload is under way"
        return None if maker.over_since + grace < now else "the grace after its run is not over"
    if not folder.ours:
        return "it holds objects that Stratum does not write"
    if folder.newest + unknown_grace >= now:
        return "no row knows it, and it is younger than the grace"
    return None if unknown else "no row knows it, and policy only reports such folders (STRATUM_SWEEP_UNKNOWN_FOLDERS)"
