"""From a listing of a tenant's root to the folders of runs in it, and what is to be done with each. Pure functions."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby
from re import fullmatch

from contracts.identifiers import IDENTIFIER_PATTERN
from contracts.layout import MANIFEST_NAME, DatasetPath, StorageRoot
from control_plane.storage import ObjectInfo
from control_plane.sweeper.tally import Size


@dataclass(slots=True)
class RunFolder:
    """What lies in the folder of one run. `ours`: it holds nothing but what runs and uploads of Stratum write."""

    run_id: str
    newest: datetime
    size: Size = field(default_factory=Size)
    ours: bool = True


@dataclass(frozen=True, slots=True)
class DatasetFolder:
    """A dataset's place in the store: the folders in it, and whether a manifest lies there."""

    path: DatasetPath
    has_manifest: bool
    runs: tuple[RunFolder, ...]


@dataclass(frozen=True, slots=True)
class Maker:
    """The attempt or upload whose folder it is. `over_since`: from then on none of its writers can be alive; None while it goes on."""

    over_since: datetime | None
    is_upload: bool = False


def datasets(root: StorageRoot, objects: Iterable[ObjectInfo]) -> Iterator[DatasetFolder]:
    """The datasets' places under a root, from its objects in the order of their keys. What has another form is nobody's business here."""
    named = ((parts, item) for item in objects if (parts := _parts(root, item.key)))
    for (entity_id, data_version, dataset), group in groupby(named, key=lambda pair: tuple(pair[0][:3])):
        has_manifest = False
        runs: dict[str, RunFolder] = {}
        for parts, item in group:
            if len(parts) == 4:
                has_manifest = has_manifest or parts[3] == MANIFEST_NAME
            else:
                _add(runs, parts, item)
        yield DatasetFolder(root.dataset(entity_id, data_version, dataset), has_manifest, tuple(runs.values()))


def _parts(root: StorageRoot, key: str) -> list[str] | None:
    parts = key.removeprefix(root.prefix).split("/")
    if len(parts) < 4 or not all(map(_is_identifier, parts[:3])) or (len(parts) > 4 and not _is_identifier(parts[3])):
        return None
    return parts


def _is_identifier(text: str) -> bool:
    return len(text) <= 128 and fullmatch(IDENTIFIER_PATTERN, text) is not None


def _add(runs: dict[str, RunFolder], parts: list[str], item: ObjectInfo) -> None:
    folder = runs.setdefault(parts[3], RunFolder(parts[3], item.modified_at))
    folder.size += Size(1, item.size)
    folder.newest = max(folder.newest, item.modified_at)
    inside = parts[4:]
    folder.ours = folder.ours and (inside[-1].endswith(".parquet") or any(part.startswith("_") for part in inside))


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
