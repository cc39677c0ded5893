"""The edge to `_retired.json`."""

from contracts.errors import Unreadable
from contracts.layout import DatasetPath
from contracts.reading import DOCUMENT, read
from contracts.tombstone import Tombstone
from control_plane.errors import AlreadyExists, ControlPlaneError, ObjectMissing, TooMuch
from control_plane.storage import Storage

_MOST_BYTES = 64 * 1024


class BadTombstone(ControlPlaneError):
    """What lies under the tombstone's key is none, or is another dataset's."""


def read_tombstone(storage: Storage, path: DatasetPath) -> Tombstone | None:
    """The dataset's tombstone; None: it is not retired.

    Raises:
        BadTombstone: it cannot be read.
    """
    try:
        return read(Tombstone, storage.get(path.root.bucket, path.tombstone_key, _MOST_BYTES), DOCUMENT)
    except ObjectMissing:
        return None
    except (TooMuch, Unreadable) as error:
        raise BadTombstone(f"{path.uri(path.tombstone_key)} is not a tombstone: {error}") from error


def put_tombstone(storage: Storage, path: DatasetPath, tombstone: Tombstone) -> Tombstone:
    """Put it create-only, and return the one that is there now.

    Raises:
        BadTombstone: what was there is not of this dataset.
        StorageUnavailable: try again.
    """
    try:
        storage.put_new(path.root.bucket, path.tombstone_key, tombstone.to_bytes())
    except AlreadyExists:
        there = read_tombstone(storage, path)
        if there is None or there.manifest_sha256 != tombstone.manifest_sha256:
            raise BadTombstone(f"{path.uri(path.tombstone_key)} is about another manifest than the registry's") from None
        return there
    return tombstone
