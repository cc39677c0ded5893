"""Objects of the store, beside the data that Spark itself reads and writes."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, SSLError

from contracts.trust import trusted_file
from spark_jobs.errors import StorageRefused, StorageUnavailable, StorageUntrusted
from spark_jobs.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_MISSING = frozenset({"NoSuchKey", "404"})


class ObjectMissing(Exception):
    """There is no object of this key."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object as a listing shows it; `size` in bytes, `etag` without quotes."""

    key: str
    size: int
    etag: str


class ObjectStore:
    """Get, put, delete and list; each is tried for about a minute.

    All methods raise `StorageUnavailable` when the store cannot be reached or fails, `StorageRefused` when it denies, and
    `StorageUntrusted` at once when its certificate is not trusted.
    """

    def __init__(self, settings: Settings) -> None:
        self._s3: S3Client = boto3.client(
            "s3",
            endpoint_url=settings.s3_endpoint,
            region_name=settings.s3_region,
            aws_access_key_id=settings.s3_access_key.get_secret_value(),
            aws_secret_access_key=settings.s3_secret_key.get_secret_value(),
            verify=str(trusted_file(settings.ca_bundle)) if settings.ca_bundle else None,
            config=Config(
                signature_version="s3v4",
                s3={"addressing_style": "path"},
                retries={"mode": "standard", "max_attempts": 14},
                connect_timeout=5,
                read_timeout=30,
                # Stores other than AWS do not all know the checksums that newer clients send unasked.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )
        self._s3.meta.events.register_first("needs-retry.s3", _no_retry_of_the_untrusted)

    def get(self, bucket: str, key: str) -> bytes:
        """The bytes of an object.

        Raises:
            ObjectMissing: there is none.
        """
        with _translated(f"s3://{bucket}/{key}"):
            return self._s3.get_object(Bucket=bucket, Key=key)["Body"].read()

    def put(self, bucket: str, key: str, body: bytes) -> None:
        """Put an object, JSON."""
        with _translated(f"s3://{bucket}/{key}"):
            self._s3.put_object(Bucket=bucket, Key=key, Body=body, ContentType="application/json")

    def delete(self, bucket: str, key: str) -> None:
        """Delete an object, if it is there."""
        with _translated(f"s3://{bucket}/{key}"):
            self._s3.delete_object(Bucket=bucket, Key=key)

    def list(self, bucket: str, prefix: str) -> list[StoredObject]:
        """All objects whose key starts with `prefix`."""
        with _translated(f"s3://{bucket}/{prefix}"):
            pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
            return [
                StoredObject(item["Key"], item["Size"], item["ETag"].strip('"'))
                for page in pages
                for item in page.get("Contents", [])
                if not item["Key"].endswith("/")  # folder markers, which S3A makes and some stores list
            ]


def _no_retry_of_the_untrusted(caught_exception: Exception | None = None, **_: Any) -> None:
    if isinstance(caught_exception, SSLError) and _is_untrusted(caught_exception):
        raise caught_exception


def _is_untrusted(error: SSLError) -> bool:
    """Other failures of TLS, such as a connection that breaks, may pass."""
    return "CERTIFICATE_VERIFY_FAILED" in str(error)


@contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        code = error.response["Error"]["Code"]
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        if code in _MISSING:
            raise ObjectMissing(what) from error
        if status >= 500 or status == 429:
            raise StorageUnavailable(f"the object store keeps failing at {what}: {error}") from error
        raise StorageRefused(f"the object store refuses {what}: {error}") from error
    except BotoCoreError as error:
        if isinstance(error, SSLError) and _is_untrusted(error):
            raise StorageUntrusted(str(error)) from error
        raise StorageUnavailable(f"the object store cannot be reached for {what}: {error}") from error
