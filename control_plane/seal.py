"""Putting a manifest: the one act that makes a dataset exist. Safe to repeat and to do twice at once."""

import hashlib
import time
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from contracts.errors import Unreadable
from contracts.layout import DatasetPath
from contracts.manifest import Manifest
from contracts.reading import DOCUMENT, check_bounds, read
from control_plane.errors import AlreadyExists, ObjectMissing, ProposalRejected, StorageUnavailable, TooMuch
from control_plane.storage import Storage


@dataclass(frozen=True, slots=True)
class Sealable:
    """A manifest that only needs to be put, with its bytes."""

    path: DatasetPath
    manifest: Manifest
    body: bytes


def sealable(path: DatasetPath, manifest: Manifest) -> Sealable:
    """Everything that can go wrong with a manifest itself goes wrong here, before anything is put.

    Raises:
        ProposalRejected: it is larger than its readers read.
    """
    body = manifest.to_bytes()
    try:
        check_bounds(body, DOCUMENT)
    except Unreadable as error:
        raise ProposalRejected(f"nobody could read its manifest: {error}; write fewer files") from error
    return Sealable(path, manifest, body)


PUT_SECONDS = 300
"""So long after it was written down that a manifest is put, it may come into the store. By then its name is nobody else's."""
LAST_PUT_SECONDS = 200
"""So long after that it is put, and not later: what is left until `PUT_SECONDS` is for the request that was begun last."""


def put_until() -> float:
    """Until when a manifest may be put, by the monotonic clock. To be asked before it is written down that it is put."""
    return time.monotonic() + LAST_PUT_SECONDS


def check_name(storage: Storage, new: Sealable) -> None:
    """See that its name is free, or sealed by what counts as ours: who has several to put is to put all of them, or none.

    Raises:
        ProposalRejected: another process's manifest is there.
        StorageUnavailable: the store does not answer; try again later.
    """
    if storage.exists(new.path.root.bucket, new.path.manifest_key):
        _existing(storage, new.path, new.manifest)


def put_manifest(storage: Storage, new: Sealable, until: float) -> tuple[Manifest, str]:
    """Put the manifest create-only and return what is sealed now, with the hash of its bytes.

    A manifest of the same run that is there already counts as ours: an earlier try whose answer was lost. So does one of any other
    run of the same process's step: that run sealed, and the database that knew of it was replaced by an older copy.

    Args:
        until: see `put_until`.

    Raises:
        ProposalRejected: another process's manifest is there.
        StorageUnavailable: the store does not answer, or time is over; try again later, written down anew.
    """
    path = new.path
    for pause in (0.1, 0.5, None):
        try:
            storage.put_new(path.root.bucket, path.manifest_key, new.body, until)
        except AlreadyExists:
            return _existing(storage, path, new.manifest)
        except StorageUnavailable:
            # 409 while another PUT is under way, or a lost answer: the next try, or a read, decides
            if pause is None:
                raise
            time.sleep(pause)
        else:
            return new.manifest, _digest(new.body)
    raise AssertionError("unreachable")


def find_manifest(storage: Storage, path: DatasetPath, process_id: UUID | None, run_id: str | None) -> tuple[Manifest, str] | None:
    """What this very run, or upload (`process_id` None), has sealed at `path`, with the hash of its bytes. None: nothing, or another's."""
    try:
        body = storage.get(path.root.bucket, path.manifest_key)
        found = read(Manifest, body, DOCUMENT)
    except (ObjectMissing, Unreadable, TooMuch):
        return None
    return (found, _digest(body)) if (found.process_id, found.run_id) == (process_id, run_id) else None


def registration(path: DatasetPath, manifest: Manifest, digest: str, upload_id: Any = None) -> dict[str, Any]:
    """The row of `datasets` for a sealed manifest."""
    return {
        "tenant": manifest.tenant,
        "entity_id": manifest.entity_id,
        "data_version": manifest.data_version,
        "dataset": manifest.dataset,
        "process_id": manifest.process_id,
        "upload_id": upload_id,
        "run_id": manifest.run_id,
        "location": manifest.location,
        "manifest_key": path.manifest_key,
        "manifest_sha256": digest,
        "manifest": manifest.model_dump(mode="json"),
        "rows": manifest.rows,
        "bytes": manifest.bytes,
        "content_fingerprint": manifest.content_fingerprint,
        "created_at": manifest.created_at,
    }


def _existing(storage: Storage, path: DatasetPath, mine: Manifest) -> tuple[Manifest, str]:
    try:
        body = storage.get(path.root.bucket, path.manifest_key)
        found = read(Manifest, body, DOCUMENT)
    except (ObjectMissing, TooMuch, Unreadable) as error:
        raise ProposalRejected(f"{path.uri(path.manifest_key)} exists and is not a manifest: {error}") from error
    same_run = (found.process_id, found.run_id) == (mine.process_id, mine.run_id)
    if not same_run and not _is_of_same_step(found, mine):
        raise ProposalRejected(f"{path.uri(path.manifest_key)} was sealed by run {found.run_id} of process {found.process_id}")
    return found, _digest(body)


def _is_of_same_step(found: Manifest, mine: Manifest) -> bool:
    """Whether another run of the same step sealed it. A database grants each attempt once, so it was replaced by an older copy."""
    return mine.process_id is not None and (found.process_id, found.step) == (mine.process_id, mine.step)


def _digest(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"
