"""The client of the object store."""

from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from contracts.trust import trusted_file
from launcher.settings import StoreAccess

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def s3_client(settings: StoreAccess) -> "S3Client":
    """A client that gives up soon: whoever uses it comes back."""
    return boto3.client(
        "s3",
        endpoint_url=settings.s3_endpoint,
        region_name=settings.s3_region,
        aws_access_key_id=settings.s3_access_key,
        aws_secret_access_key=settings.s3_secret_key.get_secret_value(),
        verify=str(trusted_file(settings.ca_bundle)) if settings.ca_bundle else None,
        config=Config(
            connect_timeout=3,
            read_timeout=15,
            retries={"total_max_attempts": 2},
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
