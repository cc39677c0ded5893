"""A real MinIO on this machine, where its binary is."""

import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import httpx
from botocore.config import Config
from botocore.exceptions import ClientError

from stratum.tenants.storage_user import StorageKeys
from tests.e2e.platform import wait_for

BINARY = shutil.which("minio") or str(Path(os.environ.get("CLUSTER_HOME", "~/.cache/one-node-cluster")).expanduser() / "bin" / "minio")


@dataclass(frozen=True)
class MinioServer:
    """Its address and its administrator."""

    endpoint: str
    admin: StorageKeys

    def s3(self, keys: StorageKeys) -> Any:
        """An S3 client with somebody's keys."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=keys.access_key,
            aws_secret_access_key=keys.secret_key,
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}),
        )


@contextmanager
def running(folder: Path) -> Iterator[MinioServer]:
    """A server for the time of the block."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    admin = StorageKeys("administrator", secrets.token_hex(16))
    environment = {
        **os.environ,
        "MINIO_ROOT_USER": admin.access_key,
        "MINIO_ROOT_PASSWORD": admin.secret_key,
        "MINIO_BROWSER": "off",
        "HOME": str(folder),
    }
    command = [BINARY, "server", str(folder / "data"), "--address", f"127.0.0.1:{port}"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    endpoint = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: _lives(endpoint), 60, lambda: (folder / "log").read_text())
        yield MinioServer(endpoint, admin)
    finally:
        process.kill()
        process.wait()


def _lives(endpoint: str) -> bool:
    try:
        return httpx.get(f"{endpoint}/minio/health/ready", timeout=2, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def denied(request: Callable[[], object]) -> bool:
    """Whether a store refuses these keys; any other failure is the test's."""
    try:
        request()
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("AccessDenied", "InvalidAccessKeyId"):
            raise
        return True
    return False
