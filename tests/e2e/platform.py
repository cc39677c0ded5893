"""A whole local platform under test: started by its own command line, asked over HTTP like a stranger would."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import boto3
import httpx
import psutil
import pytest
from botocore.config import Config

from launcher.process.folder import MARKER
from launcher.process.identity import marked_processes
from tests.chaos.histories import misplaced

STRATUM = str(Path(sys.executable).with_name("stratum"))
FINAL = ("succeeded", "failed", "cancelled")


class Installation:
    """A platform that runs somewhere. `document`: what `stratum up --json` prints, at least `url`, `token` and `s3`."""

    def __init__(self, environment: Mapping[str, str], document: dict[str, Any]) -> None:
        self._environment = environment
        self.document = document

    def cli(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run the command line; asserts its exit code."""
        done = subprocess.run([STRATUM, *arguments], env=self._environment, capture_output=True, text=True, timeout=280, check=False)
        assert done.returncode == code, f"stratum {' '.join(arguments)} -> {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def json(self, *arguments: str, code: int = 0) -> Any:
        """The one JSON document that a command prints."""
        return json.loads(self.cli(*arguments, "--json", code=code).stdout)

    @property
    def http(self) -> httpx.Client:
        """A plain client with the platform's token."""
        headers = {"Authorization": f"Bearer {self.document['token']}"}
        return httpx.Client(base_url=self.document["url"], headers=headers, timeout=30)

    @property
    def s3(self) -> Any:
        """A plain S3 client."""
        s3 = self.document["s3"]
        return boto3.client(
            "s3",
            endpoint_url=s3["endpoint"],
            aws_access_key_id=s3["access_key"],
            aws_secret_access_key=s3["secret_key"],
            region_name="us-east-1",
            config=Config(
                s3={"addressing_style": "path"}, request_checksum_calculation="when_required", retries={"total_max_attempts": 10}
            ),
        )

    def post(self, **request: Any) -> dict[str, Any]:
        """POST a process; it must be new, or already there."""
        with self.http as http:
            response = http.post("/v1/processes", json=request)
        assert response.status_code in (200, 202), response.text
        document: dict[str, Any] = response.json()
        return document

    def get(self, process_id: str) -> dict[str, Any]:
        """The process document."""
        with self.http as http:
            response = http.get(f"/v1/processes/{process_id}")
        assert response.status_code == 200, response.text
        document: dict[str, Any] = response.json()
        return document

    def wait(self, process_id: str, *states: str, seconds: float = 240) -> dict[str, Any]:
        """Wait until the process is in one of the states (final ones by default); a state that it can no longer reach fails at once."""
        wanted = states or FINAL
        found: dict[str, Any] = {}

        def reached() -> bool:
            nonlocal found
            try:
                found = self.get(process_id)
            except (httpx.HTTPError, AssertionError):
                return False  # a part was killed: the API may be away for a moment
            if found["state"] in FINAL and found["state"] not in wanted:
                raise AssertionError(f"waited for {wanted}, ended {found['state']}: {found['reason']}")
            return found["state"] in wanted

        wait_for(reached, seconds, lambda: f"{process_id} to be {wanted}; it is {found.get('state')}: {found.get('reason')}")
        return found

    def events(self, process_id: str) -> list[dict[str, Any]]:
        """The whole history; asserts that it is numbered without gaps."""
        with self.http as http:
            items: list[dict[str, Any]] = http.get(f"/v1/processes/{process_id}/events").json()["items"]
        assert [item["sequence"] for item in items] == list(range(1, len(items) + 1))
        return items

    def history(self, process_id: str) -> list[str]:
        """The types of all events, but for those that depend on who is faster, which must be in their places all the same."""
        passing = ("submitted", "pending", "silent", "unwatched", "waiting")
        types = [event["type"] for event in self.events(process_id)]
        assert misplaced(types) == [], types
        return [kind for kind in types if kind not in passing]

    def manifest(self, artifact: dict[str, Any]) -> dict[str, Any]:
        """The manifest as it lies in the store."""
        bucket, key = split(artifact["manifest"])
        document: dict[str, Any] = json.loads(self.s3.get_object(Bucket=bucket, Key=key)["Body"].read())
        return document

    def keys(self, location: str) -> dict[str, int]:
        """Keys and sizes of all objects under a location."""
        bucket, prefix = split(location)
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return {item["Key"]: item["Size"] for page in pages for item in page.get("Contents", ()) if not item["Key"].endswith("/")}

    def assert_sealed_exactly(self, process: dict[str, Any]) -> None:
        """One manifest, and in its folder exactly the files that it names."""
        for artifact in process["artifacts"]:
            manifest = self.manifest(artifact)
            named = {file["key"]: file["size"] for file in manifest["files"]}
            lies = self.keys(artifact["location"])
            assert {key: size for key, size in lies.items() if not key.rsplit("/", 1)[-1].startswith("_")} == named
            assert sum(file["rows"] for file in manifest["files"]) == manifest["rows"] == artifact["rows"]
            folder = artifact["manifest"].rsplit("/", 1)[0] + "/"
            assert sum(key.endswith("_manifest.json") for key in self.keys(folder)) == 1


class Platform(Installation):
    """`stratum up` in a folder of its own."""

    def __init__(self, home: Path, **environment: str) -> None:
        given = {name: value for name, value in os.environ.items() if name not in ("STRATUM_URL", "STRATUM_TOKEN")}
        super().__init__({**given, "STRATUM_HOME": str(home), **environment}, {})
        self.home = home

    def up(self) -> dict[str, Any]:
        """Start it, or heal it; returns what `up --json` prints."""
        self.document = self.json("up", "--detach")
        return self.document

    def down(self) -> None:
        """Stop all of it."""
        self.cli("down")

    def warm_up(self, folder: Path) -> None:
        """Run a job. If it had no archive of classes to start from, wait until there is one: all later runs start twice as fast."""
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stratum" / "class-archives"
        (folder / "warm.csv").write_text("a\n1\n")
        self.cli("ingest", "warm", "v1", str(folder / "warm.csv"))
        process = self.json("run", "warm", "v1", "filter", "-p", "condition=a > 0", "--wait")
        for classes in cache.glob(f"*.stratum-{process['id'].replace('-', '')}-0-1.classes"):
            _await_archive(cache / f"{classes.name.partition('.')[0]}.jsa")

    def drivers(self, job: str = "") -> list[psutil.Process]:
        """The JVMs of running drivers, of all jobs or of one."""
        jobs = self.home.resolve()
        marked = [(process, Path(folder)) for process, folder in marked_processes(MARKER)]
        return [process for process, folder in marked if folder.is_relative_to(jobs) and folder.name.endswith(job) and _is_java(process)]

    def driver(self, process_id: str, attempt: int = 1) -> psutil.Process:
        """The JVM of a running attempt's driver."""
        job = f"stratum-{process_id.replace('-', '')}-0-{attempt}"
        found: list[psutil.Process] = []

        def there() -> bool:
            found[:] = self.drivers(job)
            return bool(found)

        wait_for(there, 60, lambda: f"a driver of {job}")
        return found[0]


def _await_archive(archive: Path) -> None:
    """What makes it gives way to all others, and other workers of the tests leave it little: who waits for it lets it go first."""

    def is_made() -> bool:
        _hurry(archive.stem)
        return archive.is_file()

    wait_for(is_made, 200, lambda: "the archive of classes")


def _hurry(key: str) -> None:
    for process in psutil.process_iter(["name", "cmdline"]):
        command = process.info["cmdline"] or []
        if process.info["name"] == "java" and "-Xshare:dump" in command and any(key in argument for argument in command):
            with suppress(psutil.Error, OSError):  # it has ended; or only root may do that
                for thread in process.threads():  # Linux keeps a priority for each
                    os.setpriority(os.PRIO_PROCESS, thread.id, -5)


def _is_java(process: psutil.Process) -> bool:
    try:
        return bool(process.name() == "java")
    except psutil.NoSuchProcess:
        return False


def split(uri: str) -> tuple[str, str]:
    """`s3://bucket/key` -> bucket, key."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


def wait_for(condition: Callable[[], bool], seconds: float, what: Callable[[], str]) -> None:
    """Wait until the condition holds; fails with what was waited for."""
    deadline, pause = time.monotonic() + seconds, 0.05
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s for {what()}")
        time.sleep(pause)
        pause = min(1.3 * pause, 0.25)  # what is waited for needs this machine too


@contextmanager
def running_platform(home: Path, **environment: str) -> Iterator[Platform]:
    """A platform that is up inside the block, and gone after it."""
    platform = Platform(home, **environment)
    try:
        platform.up()
        yield platform
    finally:
        platform.down()


@contextmanager
def warm_platform(folders: pytest.TempPathFactory, name: str) -> Iterator[Platform]:
    """The same; its runs start as fast as they will ever do."""
    with running_platform(folders.mktemp(name)) as platform:
        platform.warm_up(folders.mktemp("warm"))
        yield platform
