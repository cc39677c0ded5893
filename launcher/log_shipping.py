"""Ships the output of all drivers that write to this machine."""

from functools import partial
from threading import Event
from typing import TYPE_CHECKING

import structlog

from contracts.layout import StorageRoot
from contracts.pulse import Beat, unwatched
from launcher import metrics
from launcher.backend import LogSource
from launcher.errors import BackendUnavailable, ChunkRefused, JobAbsent, StorageUnavailable
from launcher.job import Ended, Job
from launcher.log_chunks import LogChunks

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

log = structlog.get_logger()

_ROUND_SECONDS = 2.0
_LONGEST_WAIT_SECONDS = 60.0


class LogShipper:
    """Ships the output of every job of a source."""

    def __init__(self, source: LogSource, s3: "S3Client", beat: Beat = unwatched) -> None:
        self._source = source
        self._s3 = s3
        self._beat = beat
        self._logs: dict[str, LogChunks] = {}

    def run(self, stop: Event) -> None:
        """Ship until `stop`. A store that is away holds up the logs and nothing else."""
        wait = _ROUND_SECONDS
        while not stop.wait(wait):
            self._beat()
            try:
                self.ship_all()
                wait = _ROUND_SECONDS
            except (StorageUnavailable, BackendUnavailable) as reason:
                wait = min(wait * 2, _LONGEST_WAIT_SECONDS)
                log.warning("logs wait", reason=str(reason), seconds=wait)

    def ship_all(self) -> None:
        """One round over all jobs. One tenant's missing bucket does not hold up the others.

        Raises:
            StorageUnavailable: the store does not answer.
            BackendUnavailable: the jobs cannot be listed, or their output cannot be read.
        """
        jobs = self._source.jobs()
        for gone in self._logs.keys() - {job.name for job in jobs}:
            del self._logs[gone]
        for job in jobs:
            if not self.is_complete(job.name):
                self._ship(job)

    def is_complete(self, job_name: str) -> bool:
        """Whether all output of an ended job lies in the store."""
        chunks = self._logs.get(job_name)
        return chunks is not None and chunks.is_complete

    def _ship(self, job: Job) -> None:
        chunks = self._logs.setdefault(job.name, self._chunks(job))
        try:
            metrics.LOG_BYTES.inc(chunks.ship(partial(self._source.read_log, job.attempt), ended=isinstance(job.state, Ended)))
        except JobAbsent:
            return
        except ChunkRefused as reason:
            log.warning("log was not taken", reason=str(reason), **job.log_fields)

    def _chunks(self, job: Job) -> LogChunks:
        root, attempt = StorageRoot.parse(job.storage_root), job.attempt
        return LogChunks(self._s3, root.bucket, root.log_prefix(attempt.process_id, attempt.step, attempt.attempt))
