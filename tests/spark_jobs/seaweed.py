"""A SeaweedFS of the tests' own."""

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import boto3
import stamina
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

BUCKET = "tests"


@dataclass(frozen=True)
class S3Server:
    endpoint: str
    access_key: str
    secret_key: str

    @property
    def environment(self) -> dict[str, str]:
        return {
            "STRATUM_S3_ENDPOINT": self.endpoint,
            "STRATUM_S3_REGION": "us-east-1",
            "STRATUM_S3_ACCESS_KEY": self.access_key,
            "STRATUM_S3_SECRET_KEY": self.secret_key,
        }

    def client(self):
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(
                s3={"addressing_style": "path"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@contextmanager
def running(folder: Path) -> Iterator[S3Server]:
    names = [
        "master.port",
        "master.port.grpc",
        "volume.port",
        "volume.port.grpc",
        "filer.port",
        "filer.port.grpc",
        "s3.port",
        "s3.port.grpc",
        "s3.port.iceberg",
        "s3.port.lance",
    ]
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    server = S3Server(f"http://127.0.0.1:{ports['s3.port']}", "tester", "testers-secret")
    identity = {"name": "t", "credentials": [{"accessKey": server.access_key, "secretKey": server.secret_key}], "actions": ["Admin"]}
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    weed = shutil.which("weed", path=str(Path(sys.executable).parent)) or "weed"
    command = [
        weed,
        "server",
        f"-dir={folder}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-s3",
        "-master.telemetry=false",
        f"-s3.config={folder / 's3.json'}",
    ]
    command += ["-master.volumeSizeLimitMB=64", "-volume.max=50", *(f"-{name}={port}" for name, port in ports.items())]
    with (folder / "weed.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            _wait_until_ready(server)
            yield server
        finally:
            process.kill()  # its orderly end takes 20 s


@stamina.retry(on=(BotoCoreError, ClientError), timeout=40, attempts=None, wait_initial=0.2, wait_max=1.0)
def _wait_until_ready(server: S3Server) -> None:
    client = server.client()
    if not any(bucket["Name"] == BUCKET for bucket in client.list_buckets()["Buckets"]):
        client.create_bucket(Bucket=BUCKET)
    client.put_object(Bucket=BUCKET, Key="probe", Body=b"probe")
    assert client.get_object(Bucket=BUCKET, Key="probe")["Body"].read() == b"probe"
