"""An object store behind TLS whose certificate a private authority issued: real runs, as the local launcher starts them."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext
from typing import Any
from urllib.parse import urlsplit

import pytest
import trustme

from contracts.command import Command
from contracts.layout import StorageRoot
from launcher.job import JobSpec
from launcher.process.folder import JobFolder
from launcher.process.spark_submit import SparkSubmit
from launcher.settings import LocalSettings
from stratum.local.java import Java
from tests.launcher.samples import RESOURCES
from tests.services import Services
from tests.spark_jobs.conftest import Submitter
from tests.spark_jobs.control_plane import CallbackServer
from tests.spark_jobs.sealed import command, seal
from tests.spark_jobs.test_driver import orders


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def bundle(authority: trustme.CA, tmp_path: Path) -> Path:
    """The authority is not the first in it."""
    file = tmp_path / "ca.pem"
    file.write_bytes(b"# another company's\n" + trustme.CA().cert_pem.bytes() + b"\n# ours\n" + authority.cert_pem.bytes())
    return file


@asynccontextmanager
async def behind_tls(authority: trustme.CA, endpoint: str) -> AsyncIterator[str]:
    """The address of a server that speaks TLS and passes all on to `endpoint`."""
    context = SSLContext(PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    target = urlsplit(endpoint)

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(target.hostname, target.port)
        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(65_536):
                sink.write(data)
                await sink.drain()
        sink.close()

    async with await asyncio.start_server(relay, "127.0.0.1", 0, ssl=context) as server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"


class LocalLauncher:
    """Starts a driver with the very command and environment that the launcher makes."""

    def __init__(self, java: Java, jars: Path, services: Services, folder: Path) -> None:
        self._folder = folder
        self._settings = {
            "kafka_bootstrap": services.kafka_bootstrap,
            "cluster": "local",
            "jwks_url": "http://127.0.0.1:1/jwks",
            "callback_base_url": "http://127.0.0.1:1",
            "launcher_backend": "process",
            "max_local_jobs": 4,
            "jobs_dir": folder,
            "spark_jars_dir": jars,
            "JAVA_HOME": java.home,
            "s3_access_key": services.s3_access_key,
            "s3_secret_key": services.s3_secret_key,
        }

    def run(self, work: Command, **settings: Any) -> tuple[int, str]:
        spec = JobSpec.of(work, RESOURCES)
        folder = JobFolder.create(self._folder, spec.name, {}, spec.command.model_dump_json().encode())
        assert folder is not None
        launch = SparkSubmit(LocalSettings(**self._settings, **settings), self._folder / "archives")(spec, folder)
        done = subprocess.run(
            launch.arguments,
            env=launch.environment,
            cwd=folder.scratch,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=240,
            check=False,
        )
        return done.returncode, done.stdout


@pytest.fixture
def launcher(java: Java, jars: Path, services: Services, tmp_path: Path) -> LocalLauncher:
    return LocalLauncher(java, jars, services, tmp_path)


async def test_a_run_reads_and_writes_through_it(
    launcher: LocalLauncher, authority: trustme.CA, bundle: Path, services: Services, s3: Any, root: StorageRoot, callbacks: CallbackServer
) -> None:
    work = command(callbacks.url, root, "aggregate_revenue", {"currency": "EUR"}, seal(s3, root, "source", orders()))
    async with behind_tls(authority, services.s3_endpoint) as endpoint:
        code, output = await asyncio.to_thread(launcher.run, work, s3_endpoint=endpoint, ca_bundle=bundle)
    assert code == 0, output
    assert callbacks.reports[-1]["type"] == "finished"
    assert s3.get_object(Bucket=root.bucket, Key=callbacks.reports[-1]["proposal"]["key"])


async def test_without_the_bundle_the_reason_names_the_certificate(
    launcher: LocalLauncher, authority: trustme.CA, services: Services, s3: Any, root: StorageRoot, callbacks: CallbackServer
) -> None:
    work = command(callbacks.url, root, "aggregate_revenue", {"currency": "EUR"}, seal(s3, root, "source", orders()))
    async with behind_tls(authority, services.s3_endpoint) as endpoint:
        code, output = await asyncio.to_thread(launcher.run, work, s3_endpoint=endpoint)
    assert code == 1, output
    told_of_the_certificate(callbacks)


@pytest.mark.slow  # S3A does not give up at once
async def test_a_jvm_without_the_truststore_says_the_same(
    submit: Submitter, authority: trustme.CA, bundle: Path, services: Services, s3: Any, root: StorageRoot, callbacks: CallbackServer
) -> None:
    """As an image would whose entrypoint is its own: the driver's own client has the bundle, Spark has not."""
    work = command(callbacks.url, root, "aggregate_revenue", {"currency": "EUR"}, seal(s3, root, "source", orders()))
    async with behind_tls(authority, services.s3_endpoint) as endpoint:
        code, output = await asyncio.to_thread(submit.run, work, STRATUM_S3_ENDPOINT=endpoint, STRATUM_CA_BUNDLE=str(bundle))
    assert code == 1, output
    told_of_the_certificate(callbacks)


def told_of_the_certificate(callbacks: CallbackServer) -> None:
    error = callbacks.of_type("failed")[0]["error"]
    assert (error["class"], error["retryable"]) == ("STORAGE_UNTRUSTED", False)
    assert error["message"].startswith("the object store shows a certificate that the run does not trust")
    assert "`privateCA`" in error["message"]
    assert "\n" not in error["message"]
