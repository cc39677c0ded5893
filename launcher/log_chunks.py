"""One attempt's log in the tenant's storage root: chunk after chunk, none ever rewritten."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from contracts.layout import LOG_END_NAME
from launcher.errors import ChunkRefused, StorageUnavailable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CHUNK_BYTES = 1024 * 1024

ReadLog = Callable[[int, int], bytes]
"""At most so many bytes (second) of the output from that byte on (first); empty at its present end."""


@dataclass(slots=True)
class _Shipped:
    """How far the output was shipped: the sum of the chunks that lie in the store."""

    chunks: int = 0
    offset: int = 0
    complete: bool = False


class LogChunks:
    """Ships one log. What it knows is only a memory of what lies in the store, so that whoever comes next goes on where it ended."""

    def __init__(self, s3: "S3Client", bucket: str, prefix: str) -> None:
        self._s3 = s3
        self._bucket = bucket
        self._prefix = prefix
        self._shipped: _Shipped | None = None

    @property
    def is_complete(self) -> bool:
        """Whether all of it lies in the store, and is marked so."""
        return self._shipped is not None and self._shipped.complete

    def ship(self, read: ReadLog, *, ended: bool) -> int:
        """Put what was written since; how many bytes. `ended`: the writer was gone before this began, so this is the rest of it.

        Raises:
            StorageUnavailable: the store does not answer.
            ChunkRefused: it refuses. What lies there is looked at anew next time.
        """
        try:
            shipped = self._shipped = self._shipped or self._find()
            return self._ship_new(read, shipped, ended)
        except ClientError as error:
            self._shipped = None
            raise ChunkRefused(f"the bucket {self._bucket} takes no log: {error}") from error
        except BotoCoreError as error:
            raise StorageUnavailable(f"the object store takes no logs: {error}") from error

    def _ship_new(self, read: ReadLog, shipped: _Shipped, ended: bool) -> int:
        before = shipped.offset
        while not shipped.complete and (chunk := _next_chunk(read, shipped.offset, ended)):
            self._put(f"{shipped.chunks:06d}.log", chunk)
            shipped.chunks += 1
            shipped.offset += len(chunk)
        if ended and not shipped.complete:
            self._put(LOG_END_NAME, b"")
            shipped.complete = True
        return shipped.offset - before

    def _put(self, name: str, body: bytes) -> None:
        key = self._prefix + name
        self._s3.put_object(Bucket=self._bucket, Key=key, Body=body, ContentType="text/plain; charset=utf-8", IfNoneMatch="*")

    def _find(self) -> _Shipped:
        found = _Shipped()
        for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix):
            for item in page.get("Contents", ()):
                if item["Key"] == self._prefix + LOG_END_NAME:
                    found.complete = True
                else:
                    found.chunks += 1
                    found.offset += item["Size"]
        return found


def _next_chunk(read: ReadLog, offset: int, ended: bool) -> bytes:
    """Whole lines, as long as they fit; the rest only when nobody writes any more."""
    data = read(offset, CHUNK_BYTES)
    whole = data.rfind(b"\n") + 1
    if whole:
        return data[:whole]
    return data if ended or len(data) == CHUNK_BYTES else b""
