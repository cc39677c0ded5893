"""Real Spark drivers for the fleet: the launcher's own `process` backend in a folder of the test's."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import AnyHttpUrl

from contracts.command import Command
from contracts.sizing import Resources
from launcher.errors import BackendUnavailable
from launcher.job import Ended, JobSpec
from launcher.process.assembly import cache_folder
from launcher.process.backend import ProcessBackend
from launcher.process.spark_submit import SparkSubmit
from launcher.settings import LocalSettings
from stratum.local.jars import fetch
from stratum.local.java import ensure_java
from tests.chaos.fleet import Fleet
from tests.chaos.left import left_running
from tests.chaos.stage import Stage
from tests.control_plane.waiting import eventually

RESOURCES = Resources(
    driver_cores=1, driver_memory="512m", executor_instances=1, executor_cores=1, executor_memory="512m", shuffle_partitions=1
)
DRIVER_SECONDS = 300
"""In which a driver starts, and ends, on a busy machine too."""


@dataclass
class RealRuns:
    """`play` is what becomes of a command."""

    backend: ProcessBackend
    callback_url: str
    _waits: dict[str, asyncio.Future[Ended]] = field(default_factory=dict)

    async def play(self, fleet: Fleet, command: Command) -> None:
        """Submit it as the launcher does, and tell of its end."""
        spec = JobSpec.of(command.model_copy(update={"callback_url": AnyHttpUrl(self.callback_url)}), RESOURCES)
        end = self._waits[spec.name] = asyncio.get_running_loop().create_future()
        await asyncio.to_thread(self.backend.submit, spec)
        await fleet.launcher.say("submitted", command)
        ended = await end
        await fleet.launcher.say("ended", command, outcome=ended.outcome, message=ended.message)

    async def look_after(self) -> None:
        """Start what was submitted and see how it ends, until cancelled; like the observer, come again to a folder that cannot be used."""
        while True:
            try:
                changed = await asyncio.to_thread(self.backend.changes, 0.5)
            except BackendUnavailable:
                await asyncio.sleep(0.5)
                continue
            for job in changed:
                if isinstance(job.state, Ended) and (end := self._waits.pop(job.name, None)) is not None:
                    end.set_result(job.state)


def _end_all(backend: ProcessBackend) -> bool:
    """Whether none is left; the fleet may have submitted another one meanwhile."""
    left = [job for job in backend.jobs() if not isinstance(job.state, Ended)]
    for job in left:
        backend.kill(job.attempt, "the test is over")
    return not left


@asynccontextmanager
async def real_runs(stage: Stage, jobs: Path, slots: int = 2) -> AsyncIterator[RealRuns]:
    """Runs in folders under `jobs`. At the end none may run any more; after a failure those that do are killed."""
    java = await asyncio.to_thread(ensure_java, print)
    installation = stage.installation
    settings = LocalSettings(
        kafka_bootstrap=installation.kafka_bootstrap,
        cluster="chaos",
        jwks_url=f"{stage.caller.client.base_url}/.well-known/jwks.json",
        callback_base_url=str(stage.caller.client.base_url),
        s3_endpoint=f"http://{stage.wire('run_s3').address}",
        s3_access_key=installation.s3_access_key,
        s3_secret_key=installation.s3_secret_key,
        jobs_dir=jobs,
        launcher_backend="process",
        max_local_jobs=slots,
        spark_jars_dir=await asyncio.to_thread(fetch, "s3a", java),
        JAVA_HOME=java.home,
    )
    launch = SparkSubmit(settings, cache_folder() / "class-archives")
    url = f"http://{stage.wire('run_api').address}/v1/processes/callback"
    with ProcessBackend.open(jobs, slots, launch, grace_seconds=2) as backend:
        runs = RealRuns(backend, url)
        watch = asyncio.create_task(runs.look_after())
        try:
            yield runs
            assert await left_running(jobs) == []
        finally:
            await eventually(lambda: asyncio.to_thread(_end_all, backend), 60, "the end of all jobs")
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
