"""A real store that speaks the language of IAM: SeaweedFS, with its users open to change."""

import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3

from stratum.local.ports import settle_ports
from stratum.local.program import base_environment
from stratum.local.seaweed import PORT_FLAGS, REGION, Seaweed
from stratum.local.supervisor import NotReady
from tests.e2e.platform import wait_for

_FLAGS = {"-s3.iam=false": ("-s3.iam=true", "-s3.iam.readOnly=false")}


@contextmanager
def running(folder: Path) -> Iterator[Seaweed]:
    """A server for the time of the block."""
    server = Seaweed(folder, settle_ports({}, PORT_FLAGS, lambda _: None), "administrator", secrets.token_hex(20), secrets.token_hex(20))
    server.prepare()
    program = server.program()
    command = [flag for given in program.argv for flag in _FLAGS.get(given, (given,))]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env={**base_environment(), **program.environment}, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        wait_for(lambda: _lives(server), 90, lambda: (folder / "log").read_text()[-3000:])
        yield server
    finally:
        process.kill()
        process.wait()
        for each in program.litter:
            each.unlink(missing_ok=True)


def client(server: Seaweed) -> Any:
    """Its IAM, as its administrator."""
    return boto3.client(
        "iam",
        endpoint_url=server.endpoint,
        region_name=REGION,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
    )


def _lives(server: Seaweed) -> bool:
    try:
        server.check()
    except NotReady:
        return False
    return True
