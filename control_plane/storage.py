"""The edge to the object store (S3). Blocking calls: run them in a thread."""

import base64
import hashlib
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from math import inf
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from contracts.trust import trusted_file
from control_plane.errors import AlreadyExists, ObjectMissing, StorageRefused, StorageUnavailable, TooMuch
from control_plane.settings import StorageSettings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


MOST_BYTES = 64 * 1024 * 1024
"""Of an object that is read whole, unless its reader says otherwise."""
MOST_OBJECTS = 200_000
"""Of a listing, likewise: what a run may leave in its folder has no end."""
_MOST_DELETED = 1000
_IN_XML = re.compile(r"[\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]*")
"""Keys that a list to be deleted can name. A run may have written others, too."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One object of a listing. `etag` without quotes; `size` in bytes."""

    key: str
    size: int
    etag: str
    modified_at: datetime


@dataclass(frozen=True, slots=True)
class UnfinishedUpload:
    """A multipart upload that may still be completed."""

    key: str
    upload_id: str
    begun_at: datetime


class _Timely(BytesIO):
    """A body that ends its request when its time is over, the client's own next tries too: its time-outs are for single steps."""

    def __init__(self, body: bytes, until: float) -> None:
        super().__init__(body)
        self._until = until

    def read(self, size: int | None = -1, /) -> bytes:
        if time.monotonic() >= self._until:
            raise StorageUnavailable("it could not be put in time; it is put anew")
        return super().read(size)


class Storage:
    """Objects by bucket and key."""

    def __init__(self, settings: StorageSettings) -> None:
        self._client = _client(settings, settings.s3_endpoint)
        self._public = _client(settings, settings.s3_public_endpoint or settings.s3_endpoint)

    def ensure_bucket(self, bucket: str) -> None:
        """Create the bucket unless it is there. Credentials that may not create buckets are enough where it is."""
        try:
            with _translated(bucket, ""):
                self._client.head_bucket(Bucket=bucket)
        except ObjectMissing:
            self._create_bucket(bucket)

    def _create_bucket(self, bucket: str) -> None:
        try:
            with _translated(bucket, ""):
                self._client.create_bucket(Bucket=bucket)
        except AlreadyExists:
            return

    def get(self, bucket: str, key: str, most: int = MOST_BYTES) -> bytes:
        """The whole object; raises `ObjectMissing`, and `TooMuch` for more than `most` bytes."""
        with _translated(bucket, key):
            body = self._client.get_object(Bucket=bucket, Key=key)["Body"]
            with closing(body):
                found: bytes = body.read(most + 1)
        if len(found) > most:
            raise TooMuch(f"s3://{bucket}/{key} has more than {most} bytes")
        return found

    def part(self, bucket: str, key: str, begin: int, size: int) -> bytes:
        """At most `size` bytes of an object from `begin` on; `begin` must lie inside of it."""
        with _translated(bucket, key):
            answer = self._client.get_object(Bucket=bucket, Key=key, Range=f"bytes={begin}-{begin + size - 1}")
            with closing(answer["Body"]) as body:
                found: bytes = body.read(size)
                return found

    def exists(self, bucket: str, key: str) -> bool:
        """Whether there is such an object."""
        try:
            with _translated(bucket, key):
                self._client.head_object(Bucket=bucket, Key=key)
        except ObjectMissing:
            return False
        return True

    def chunks(self, bucket: str, key: str, size: int = 1 << 20) -> Iterator[bytes]:
        """The object in pieces of at most `size` bytes."""
        with _translated(bucket, key):
            yield from self._client.get_object(Bucket=bucket, Key=key)["Body"].iter_chunks(size)

    def tail(self, bucket: str, key: str, size: int) -> bytes:
        """The last `size` bytes of the object, or all of it when it is shorter."""
        with _translated(bucket, key):
            return self._client.get_object(Bucket=bucket, Key=key, Range=f"bytes=-{size}")["Body"].read()

    def put_new(self, bucket: str, key: str, body: bytes, until: float = inf) -> None:
        """Put an object that is not there; raises `AlreadyExists`. After a time-out it may exist all the same.

        `until`: of the monotonic clock. After it no try is begun, and one that was begun is given no more of the body.
        """
        with _translated(bucket, key), _Timely(body, until) as sent:
            self._client.put_object(Bucket=bucket, Key=key, Body=sent, IfNoneMatch="*", ContentType="application/json")

    def list(self, bucket: str, prefix: str, most: int = MOST_OBJECTS) -> list[ObjectInfo]:
        """All objects under a prefix, by key; raises `TooMuch` for more than `most`. None lie in a bucket that does not exist."""
        found: list[ObjectInfo] = []
        for page in self.pages(bucket, prefix):
            found += page
            if len(found) > most:
                raise TooMuch(f"there are more than {most} objects under s3://{bucket}/{prefix}")
        return found

    def pages(self, bucket: str, prefix: str, after: str = "") -> Iterator[Sequence[ObjectInfo]]:
        """All objects under a prefix, by key, at most a thousand at once; those behind the key `after`, if one is given."""
        try:
            with _translated(bucket, prefix):
                paginator = self._client.get_paginator("list_objects_v2")
                found = (
                    paginator.paginate(Bucket=bucket, Prefix=prefix, StartAfter=after)
                    if after
                    else paginator.paginate(Bucket=bucket, Prefix=prefix)
                )
                for page in found:
                    yield [
                        ObjectInfo(item["Key"], item["Size"], item["ETag"].strip('"'), item["LastModified"])
                        for item in page.get("Contents", ())
                        if not item["Key"].endswith("/")  # some stores list folder markers
                    ]
        except ObjectMissing:
            return

    def walk(self, bucket: str, prefix: str) -> Iterator[ObjectInfo]:
        """As `list`, page after page: for prefixes that hold more than fits into memory."""
        for page in self.pages(bucket, prefix):
            yield from page

    def unfinished_uploads(self, bucket: str, prefix: str) -> Iterator[Sequence[UnfinishedUpload]]:
        """Multipart uploads under a prefix that were begun and neither completed nor aborted, at most a thousand at once."""
        try:
            with _translated(bucket, prefix):
                for page in self._client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=prefix):
                    yield [
                        UnfinishedUpload(item["Key"], item["UploadId"], item["Initiated"])
                        for item in page.get("Uploads", ())
                        if item["Key"].startswith(prefix)  # not every store heeds the prefix
                    ]
        except ObjectMissing:
            return

    def parts_size(self, bucket: str, key: str, upload_id: str) -> int:
        """Bytes of the parts of a multipart upload; 0 when it is gone."""
        try:
            with _translated(bucket, key):
                pages = self._client.get_paginator("list_parts").paginate(Bucket=bucket, Key=key, UploadId=upload_id)
                return sum(part["Size"] for page in pages for part in page.get("Parts", ()))
        except ObjectMissing:
            return 0

    def abort_upload(self, bucket: str, key: str, upload_id: str) -> None:
        """Give a multipart upload up; one that is gone already is fine."""
        try:
            with _translated(bucket, key):
                self._client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id)
        except ObjectMissing:
            return

    def delete(self, bucket: str, keys: Iterable[str]) -> None:
        """Delete objects, a thousand with one request; those that are gone already are fine. After an error some may be gone."""
        wanted = list(keys)
        together = [key for key in wanted if _IN_XML.fullmatch(key)] if len(wanted) > 1 else []
        for begin in range(0, len(together), _MOST_DELETED):
            self._delete_batch(bucket, together[begin : begin + _MOST_DELETED])
        for key in [key for key in wanted if not _IN_XML.fullmatch(key)] if together else wanted:
            with _translated(bucket, key):
                self._client.delete_object(Bucket=bucket, Key=key)

    def _delete_batch(self, bucket: str, keys: Sequence[str]) -> None:
        with _translated(bucket, keys[0]):
            answer = self._client.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True})
        for error in answer.get("Errors", ()):
            code = error.get("Code", "")
            if code not in ("NoSuchKey", "NoSuchVersion"):
                kind = StorageRefused if code == "AccessDenied" else StorageUnavailable
                raise kind(f"the object store does not delete s3://{bucket}/{error.get('Key')}: {code} {error.get('Message', '')}")

    def presigned_get(self, bucket: str, key: str, seconds: int) -> str:
        """A URL that reads one object, against the public endpoint."""
        return self._public.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": key}, ExpiresIn=seconds)

    def presigned_put(self, bucket: str, key: str, size: int, seconds: int) -> tuple[str, dict[str, str]]:
        """A URL that creates one object of `size` bytes and never replaces it, and the headers that must go with it.

        The length is signed too: the store refuses a body of another one, or of one that is not told beforehand.
        """
        wished = {"Bucket": bucket, "Key": key, "IfNoneMatch": "*", "ContentLength": size}
        url = self._public.generate_presigned_url("put_object", Params=wished, ExpiresIn=seconds, HttpMethod="PUT")
        return url, {"If-None-Match": "*"}

    def ping(self) -> None:
        """Ask the store something cheap; raises `StorageUnavailable`."""
        with _translated("", ""):
            self._client.list_buckets(MaxBuckets=1)


def _client(settings: StorageSettings, endpoint: str) -> "S3Client":
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=settings.s3_region,
        aws_access_key_id=settings.s3_access_key,
        aws_secret_access_key=settings.s3_secret_key.get_secret_value(),
        verify=str(trusted_file(settings.ca_bundle)) if settings.ca_bundle else None,
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": "path"},
            connect_timeout=2,
            read_timeout=20,
            retries={"mode": "standard", "total_max_attempts": 3},
            # stores other than AWS do not all know the newer default checksums
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            max_pool_connections=32,
        ),
    )
    client.meta.events.register("before-call.s3.DeleteObjects", _add_md5)
    return client


def _add_md5(params: dict[str, Any], **_: Any) -> None:
    """The checksum of a list to be deleted that every store knows; the client's own is of a newer kind."""
    digest = hashlib.md5(params["body"], usedforsecurity=False).digest()
    params["headers"]["Content-MD5"] = base64.b64encode(digest).decode()


@contextmanager
def _translated(bucket: str, key: str) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if status == 412 or code in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
            raise AlreadyExists(f"s3://{bucket}/{key} exists") from error
        if status == 404:
            raise ObjectMissing(f"s3://{bucket}/{key} does not exist") from error
        kind = StorageRefused if status in (401, 403) else StorageUnavailable
        raise kind(f"the object store answered {status} {code} for s3://{bucket}/{key}") from error
    except BotoCoreError as error:
        raise StorageUnavailable(f"the object store does not answer for s3://{bucket}/{key}: {type(error).__name__}") from error
