"""The edge to the object store: clients as the services use them, and roots to look at."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from contracts.layout import StorageRoot
from contracts.trust import trusted_file
from stratum.preflight import database
from stratum.preflight.errors import Unreachable
from stratum.preflight.target import Target

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

RACERS = 16


def client(target: Target, endpoint: str) -> "S3Client":
    """A client of the services' credentials. No retries: each request counts."""
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=target.s3_region,
        aws_access_key_id=target.s3_access_key,
        aws_secret_access_key=target.s3_secret_key.get_secret_value() if target.s3_secret_key else None,
        verify=str(trusted_file(target.ca_bundle)) if target.ca_bundle else None,
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": "path"},
            connect_timeout=5,
            read_timeout=20,
            retries={"total_max_attempts": 1},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            max_pool_connections=RACERS,
        ),
    )


def roots(target: Target) -> tuple[StorageRoot, ...]:
    """The storage roots that were named, else those of the tenants in the database; each once.

    Raises:
        Unreachable: the database cannot be asked.
    """
    if target.roots or target.database_url is None:
        return tuple(dict.fromkeys(target.storage_roots))
    statement = "SELECT bucket, prefix FROM tenants WHERE $1::text IS NULL OR id = $1 ORDER BY id"
    rows = database.fetch(target.database_url.get_secret_value(), statement, target.tenant)
    return tuple(dict.fromkeys(StorageRoot(row["bucket"], row["prefix"]) for row in rows))


def status_of(error: ClientError) -> int:
    """The HTTP status of a refusal."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def code_of(error: ClientError) -> str:
    """The store's word for a refusal."""
    return str(error.response.get("Error", {}).get("Code", ""))


@contextmanager
def told(what: str) -> Iterator[None]:
    """Translate the library's errors to `Unreachable`, whose message begins with `what`."""
    try:
        yield
    except ClientError as error:
        raise Unreachable(f"{what}: the store answered {status_of(error)} {code_of(error)}") from error
    except BotoCoreError as error:
        raise Unreachable(f"{what}: {error}") from error
