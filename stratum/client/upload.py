"""From local files to a sealed dataset: convert, hash, announce, PUT, seal."""

import hashlib
import re
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import anyio
import httpx
import stamina
from anyio import to_thread

from contracts.http import Dataset, Upload, UploadFile, UploadRequest, UploadTarget
from stratum.client.transport import Transport
from stratum.errors import Invalid, MissingLibrary, StratumError, Unavailable

Progress = Callable[[str, int, int], None]
"""Told the phase (`convert`, `hash`, `upload`), the bytes done and the bytes in all."""

UPLOADS_AT_ONCE = 4
CHUNK_BYTES = 1 << 20
RETRY_SECONDS = 120.0
_STORE = httpx.Timeout(20.0, connect=5.0, write=10.0, pool=None)
"""For one step. A store that stands still is noticed, and said, long before it is given up."""
SEAL_SECONDS = 900.0
"""The platform reads every byte before it seals."""
ALREADY_THERE = 412
"""Links are create-only. A file that is there was put by an earlier try whose answer was lost; sealing compares its hash."""


async def ingest(
    transport: Transport,
    path: str,
    files: Sequence[str | PathLike[str]],
    *,
    null: Sequence[str],
    schema: str | None,
    delimiter: str | None,
    progress: Progress,
) -> Dataset:
    """Upload `files` to the uploads resource at `path` and seal them. See `AsyncClient.ingest`."""
    with tempfile.TemporaryDirectory(prefix="stratum-ingest-") as folder:
        paths = await to_thread.run_sync(
            partial(_converted, [Path(file) for file in files], Path(folder), null, schema, delimiter, progress)
        )
        parts = await to_thread.run_sync(_announced, paths, progress)
        upload = await transport.post(Upload, path, UploadRequest(files=tuple(part.file for part in parts)), repeatable=False)
        await _put_all(parts, upload.files, progress)
    return await transport.post(Dataset, f"{path}/{upload.upload_id}/seal", repeatable=True, answer_within=SEAL_SECONDS)


class Part(NamedTuple):
    """A local file, and what the platform was told of it."""

    path: Path
    file: UploadFile


def _converted(
    files: Sequence[Path], folder: Path, null: Sequence[str], schema: str | None, delimiter: str | None, progress: Progress
) -> list[Path]:
    """The Parquet files to upload: written into `folder`, or `files` themselves."""
    try:
        from stratum.client.convert import parse_schema, prepare
    except ModuleNotFoundError as error:
        raise MissingLibrary(error.name or "pyarrow") from error
    declared = parse_schema(schema) if schema else {}
    return prepare(files, folder, nulls=null, schema=declared, delimiter=delimiter, progress=partial(progress, "convert"))


def _announced(paths: Sequence[Path], progress: Progress) -> list[Part]:
    total, done = sum(path.stat().st_size for path in paths), 0
    parts: list[Part] = []
    for number, path in enumerate(paths):
        size = path.stat().st_size
        parts.append(Part(path, UploadFile(name=f"part-{number:05}.parquet", bytes=size, sha256=_sha256(path))))
        progress("hash", done := done + size, total)
    return parts


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


async def _put_all(parts: Sequence[Part], targets: Sequence[UploadTarget], progress: Progress) -> None:
    total, done = sum(part.file.bytes for part in parts), 0
    by_name = {part.file.name: part for part in parts}

    def sent(count: int) -> None:
        nonlocal done
        done += count
        progress("upload", done, total)

    slots = anyio.CapacityLimiter(UPLOADS_AT_ONCE)

    async def put(http: httpx.AsyncClient, target: UploadTarget) -> None:
        async with slots:
            await _put(http, by_name[target.name], target, sent)

    try:
        async with httpx.AsyncClient(timeout=_STORE) as http, anyio.create_task_group() as group:
            for target in targets:
                group.start_soon(put, http, target)
    except ExceptionGroup as several:
        raise several.exceptions[0] from several


async def _put(http: httpx.AsyncClient, part: Part, target: UploadTarget, sent: Callable[[int], None]) -> None:
    async for attempt in stamina.retry_context(on=Unavailable, attempts=None, timeout=RETRY_SECONDS):
        with attempt:
            await _put_once(http, part, target, sent)


async def _put_once(http: httpx.AsyncClient, part: Part, target: UploadTarget, sent: Callable[[int], None]) -> None:
    counted = 0

    async def content() -> AsyncIterator[bytes]:
        nonlocal counted
        async with await anyio.open_file(part.path, "rb") as file:
            while counted < part.file.bytes and (chunk := await file.read(min(CHUNK_BYTES, part.file.bytes - counted))):
                yield chunk
                counted += len(chunk)
                sent(len(chunk))
            if counted < part.file.bytes or await file.read(1):
                raise Invalid(f"{part.path} changed while it was uploaded.", "Ingest it again when it is complete.")

    headers = {**target.headers, "Content-Length": str(part.file.bytes)}
    try:
        response = await http.put(target.url, content=content(), headers=headers)
        # what is there already came from an earlier try; that it is this very file is checked when it is sealed
        if not (response.is_success or response.status_code == ALREADY_THERE):
            raise _refused(target.name, response)
    except httpx.TransportError as error:
        sent(-counted)
        raise Unavailable(f"The object store cannot be reached: {error or type(error).__name__}.", "Try again later.") from error
    except Unavailable:
        sent(-counted)
        raise


def _refused(name: str, response: httpx.Response) -> StratumError:
    said = re.search(r"<Code>(.*?)</Code>.*?<Message>(.*?)</Message>", response.text, re.DOTALL)
    reason = f"{said[1]}: {said[2]}" if said else f"HTTP status {response.status_code}"
    if response.status_code >= 500 or response.status_code == 429:
        return Unavailable(f"The object store does not take {name} now ({reason}).", "Try again later.")
    return Invalid(f"The object store refused {name} ({reason}).", "If the file did not change meanwhile, ingest it again.")
