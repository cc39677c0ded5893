"""Runs inside the probe pod, as `python -c`, with what a run's image holds; knows nothing of Stratum. Tells what it saw as JSON."""

import datetime
import json
import os
import ssl
import sys
import tempfile
import time
import urllib.request
from typing import Any

SECONDS = 10
REPORT = os.environ.get("PROBE_REPORT", "/dev/termination-log")


def get(url: str) -> tuple[bytes, float, float]:
    """The body, and when the request began and ended."""
    context = ssl.create_default_context()
    if bundle := os.environ.get("STRATUM_CA_BUNDLE"):
        context.load_verify_locations(bundle)
    begin = time.time()
    with urllib.request.urlopen(url, timeout=SECONDS, context=context) as response:  # noqa: S310  # the operator's own address
        return response.read(), begin, time.time()


def ask_api(base: str) -> dict[str, Any]:
    """Whether runs reach the API, and how far this node's clock is ahead of the database's."""
    get(f"{base}/healthz")
    body, begin, end = get(f"{base}/v1/time")
    now = datetime.datetime.fromisoformat(json.loads(body)["now"]).timestamp()
    return {"ok": True, "ahead": (begin + end) / 2 - now, "uncertain": (end - begin) / 2}


def try_store(bucket: str, file: str, manifest: str) -> dict[str, Any]:
    """Whether the keys of runs may write files, as they must, and a manifest, which they must not."""
    import boto3
    from botocore.config import Config

    client = boto3.client(
        "s3",
        endpoint_url=os.environ["STRATUM_S3_ENDPOINT"],
        region_name=os.environ["STRATUM_S3_REGION"],
        aws_access_key_id=os.environ["STRATUM_S3_ACCESS_KEY"],
        aws_secret_access_key=os.environ["STRATUM_S3_SECRET_KEY"],
        verify=trusted(),
        config=Config(
            s3={"addressing_style": "path"}, connect_timeout=5, read_timeout=SECONDS, request_checksum_calculation="when_required"
        ),
    )
    return {"file": put(client, bucket, file), "manifest": put(client, bucket, manifest)}


def trusted() -> str | None:
    """A file of the public authorities and the private ones: boto3 takes one, and would trust no others. None: the public ones."""
    from botocore.httpsession import get_cert_path

    bundle = os.environ.get("STRATUM_CA_BUNDLE")
    if bundle is None:
        return None
    with tempfile.NamedTemporaryFile("w", suffix=".pem", encoding="utf-8", delete=False) as file:
        for path in filter(None, (get_cert_path(True), bundle)):
            with open(path, encoding="utf-8") as each:  # noqa: PTH123
                file.write(f"{each.read()}\n")
    return file.name


def put(client: Any, bucket: str, key: str) -> str:
    """`written`, or why not. Whoever started the pod removes it."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        client.put_object(Bucket=bucket, Key=key, Body=b"preflight")
    except ClientError as error:
        return f"{error.response['ResponseMetadata']['HTTPStatusCode']} {error.response['Error'].get('Code', '')}"
    except BotoCoreError as error:
        return str(error)
    return "written"


def tried(look: Any, *arguments: str) -> dict[str, Any]:
    """What `look` found, or its error."""
    try:
        found: dict[str, Any] = look(*arguments)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}
    return found


def main() -> None:
    """Look at what the environment names, and write the report."""
    report: dict[str, Any] = {"python": sys.version.split()[0]}
    if base := os.environ.get("PROBE_API"):
        report["api"] = tried(ask_api, base)
    if bucket := os.environ.get("PROBE_BUCKET"):
        report["store"] = tried(try_store, bucket, os.environ["PROBE_FILE"], os.environ["PROBE_MANIFEST"])
    with open(REPORT, "w", encoding="utf-8") as file:  # noqa: PTH123
        json.dump(report, file)


if __name__ == "__main__":
    main()
