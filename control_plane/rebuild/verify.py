"""Whether a manifest in the store can be believed: it is of the place where it lies, and its files lie where it says."""

import hashlib
from dataclasses import dataclass
from uuid import UUID

from contracts.errors import Unreadable
from contracts.layout import DatasetPath
from contracts.manifest import Manifest, schema_fingerprint
from contracts.reading import DOCUMENT, read
from contracts.tombstone import Tombstone
from control_plane.errors import ControlPlaneError
from control_plane.retirement.tombstones import read_tombstone
from control_plane.storage import Storage

_LAST_ATTEMPT = 2**15 - 1
"""What the database's column holds."""


class BrokenDataset(ControlPlaneError):
    """What lies there cannot be registered; the message says why."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A dataset as the store has it."""

    path: DatasetPath
    manifest: Manifest
    sha256: str
    tombstone: Tombstone | None


def read_sealed(storage: Storage, tenant: str, path: DatasetPath) -> Sealed:
    """The dataset at `path`, verified. Of a retired one the files may be gone.

    Raises:
        BrokenDataset: manifest, tombstone or files are not what they should be.
    """
    body = storage.get(path.root.bucket, path.manifest_key)
    try:
        manifest = read(Manifest, body, DOCUMENT)
    except Unreadable as error:
        raise BrokenDataset(f"the manifest cannot be read: {error}") from error
    digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
    _check_place(tenant, path, manifest)
    _check_maker(manifest)
    if manifest.schema_fingerprint != schema_fingerprint(manifest.columns):
        raise BrokenDataset("the schema fingerprint is not that of the columns")
    tombstone = read_tombstone(storage, path)
    if tombstone is None:
        _check_files(storage, path, manifest)
    elif tombstone.manifest_sha256 != digest:
        raise BrokenDataset("its tombstone is about another manifest")
    return Sealed(path, manifest, digest, tombstone)


def _check_place(tenant: str, path: DatasetPath, manifest: Manifest) -> None:
    says = (manifest.tenant, manifest.entity_id, manifest.data_version, manifest.dataset)
    if says != (tenant, path.entity_id, path.data_version, path.dataset):
        raise BrokenDataset(f"the manifest is of {'/'.join(says)}, and lies in another place")
    prefix = path.run_prefix(manifest.run_id)
    if manifest.location != path.uri(prefix):
        raise BrokenDataset(f"the manifest's location is {manifest.location}, its run's folder {path.uri(prefix)}: was it copied?")
    outside = next((file.key for file in manifest.files if not file.key.startswith(prefix)), None)
    if outside is not None:
        raise BrokenDataset(f"the manifest names {outside}, outside of its run's folder")


def _check_maker(manifest: Manifest) -> None:
    """Whether rows of a process, or of an upload, can stand for what made it."""
    if manifest.process_id is None:
        try:
            UUID(manifest.run_id)
        except ValueError as error:
            raise BrokenDataset(f"the manifest names neither a process nor an upload: {manifest.run_id} is no upload's id") from error
        return
    if manifest.action is None or manifest.action_revision is None or manifest.step is None or manifest.attempt is None:
        raise BrokenDataset("the manifest names a process and does not say by which action, step and attempt it was made")
    if manifest.attempt > _LAST_ATTEMPT:
        raise BrokenDataset(f"the manifest names the attempt {manifest.attempt}; there are at most {_LAST_ATTEMPT}")


def _check_files(storage: Storage, path: DatasetPath, manifest: Manifest) -> None:
    lies = {item.key: (item.size, item.etag) for item in storage.list(path.root.bucket, path.run_prefix(manifest.run_id))}
    for file in manifest.files:
        found = lies.get(file.key)
        if found is None:
            raise BrokenDataset(f"its file {file.key} is missing")
        if found != (file.size, file.etag):
            raise BrokenDataset(f"its file {file.key} has size and etag {found}, the manifest says {(file.size, file.etag)}")
