"""What lies in the folder of an upload, read and checked against what was announced. Blocking: run it in a thread."""

import hashlib
from datetime import datetime
from typing import Any
from uuid import UUID

from contracts.http import UploadFile
from contracts.layout import DatasetPath
from contracts.manifest import Manifest
from contracts.proposal import DatasetContent
from control_plane.errors import Invalid, ObjectMissing, UploadRefused
from control_plane.footer_readers import FooterReaders
from control_plane.storage import ObjectInfo, Storage


def checked(storage: Storage, readers: FooterReaders, path: DatasetPath, upload_id: UUID, files: list[Any]) -> DatasetContent:
    """The content of the upload: every byte is read once.

    Raises:
        Invalid: a file is missing yet.
        UploadRefused: what is there can never be sealed.
    """
    objects = _uploaded(storage, path, upload_id, files)
    for file, item in objects:
        if item.size != file.bytes:
            raise UploadRefused(
                f"{file.name} has {item.size} bytes, {file.bytes} were announced. Begin a new upload with the file as it is."
            )
        _check_hash(storage, path, item, file)
    return readers.content([item for _, item in objects], lambda key, size: storage.tail(path.root.bucket, key, size))


def manifest(tenant: str, path: DatasetPath, upload_id: UUID, content: DatasetContent, now: datetime) -> Manifest:
    """The manifest of an upload: no process made it."""
    run_id = str(upload_id)
    nothing: dict[str, Any] = dict.fromkeys(
        ("process_id", "step", "attempt", "action", "action_revision", "image", "code_version", "spark_version")
    )
    return Manifest(
        **{name: getattr(content, name) for name in DatasetContent.model_fields},
        **nothing,
        tenant=tenant,
        entity_id=path.entity_id,
        data_version=path.data_version,
        dataset=path.dataset,
        run_id=run_id,
        location=path.uri(path.run_prefix(run_id)),
        parameters={},
        inputs=(),
        created_at=now,
    )


def _uploaded(storage: Storage, path: DatasetPath, upload_id: UUID, files: list[Any]) -> list[tuple[UploadFile, ObjectInfo]]:
    """What was announced, and what lies there."""
    announced = [UploadFile.model_validate(file) for file in files]
    prefix = path.run_prefix(str(upload_id))
    lies = {item.key.removeprefix(prefix): item for item in storage.list(path.root.bucket, prefix)}
    missing = [file.name for file in announced if file.name not in lies]
    if missing:
        raise Invalid(f"Not uploaded yet: {', '.join(missing[:5])}. PUT every file to its URL, then seal.")
    return [(file, lies[file.name]) for file in announced]


def _check_hash(storage: Storage, path: DatasetPath, item: ObjectInfo, file: UploadFile) -> None:
    digest = hashlib.sha256()
    try:
        for chunk in storage.chunks(path.root.bucket, item.key):
            digest.update(chunk)
    except ObjectMissing as error:
        raise UploadRefused(f"{file.name} vanished while it was read.") from error
    if digest.hexdigest() != file.sha256:
        raise UploadRefused(f"{file.name} is not the file that was announced: its sha256 is {digest.hexdigest()}. Begin a new upload.")
