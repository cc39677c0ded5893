"""Ships driver output to the tenant's storage root while it grows: chunk after chunk, none ever rewritten."""

from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING

import structlog
from botocore.exceptions import BotoCoreError, ClientError

from contracts.layout import StorageRoot
from launcher import metrics
from launcher.backend import LogSource
from launcher.errors import BackendUnavailable, JobAbsent, StorageUnavailable
from launcher.job import Ended, Job

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

log = structlog.get_logger()

CHUNK_BYTES = 1024 * 1024
COMPLETE = "complete"
"""Name of the empty object that says that no further chunk will come."""
_ROUND_SECONDS = 2.0
_LONGEST_WAIT_SECONDS = 60.0


@dataclass(slots=True)
class Shipped:
    """How far a job's output was shipped. The object store knows it too: it is the sum of the chunks."""

    chunks: int = 0
    offset: int = 0
    complete: bool = False


class LogShipper:
    """Ships the output of every job of a backend. What it knows is only a memory of what lies in the store."""

    def __init__(self, source: LogSource, s3: "S3Client") -> None:
        self._source = source
        self._s3 = s3
        self._shipped: dict[str, Shipped] = {}

    def run(self, stop: Event) -> None:
        """Ship until `stop`. A store that is away holds up the logs and nothing else."""
        wait = _ROUND_SECONDS
        while not stop.wait(wait):
            try:
                self.ship_all()
                wait = _ROUND_SECONDS
            except (StorageUnavailable, BackendUnavailable) as reason:
                wait = min(wait * 2, _LONGEST_WAIT_SECONDS)
                log.warning("logs wait", reason=str(reason), seconds=wait)

    def ship_all(self) -> None:
        """One round over all jobs.

        Raises:
            StorageUnavailable: the store does not answer.
        """
        jobs = self._source.jobs()
        for gone in self._shipped.keys() - {job.name for job in jobs}:
            del self._shipped[gone]
        for job in jobs:
            if not self.is_complete(job.name):
                self._ship(job)

    def is_complete(self, job_name: str) -> bool:
        """Whether all output of an ended job lies in the store."""
        shipped = self._shipped.get(job_name)
        return shipped is not None and shipped.complete

    def _ship(self, job: Job) -> None:
        root = StorageRoot.parse(job.storage_root)
        prefix = root.log_prefix(job.attempt.process_id, job.attempt.step, job.attempt.attempt)
        try:
            if job.name not in self._shipped:
                self._shipped[job.name] = self._find(root.bucket, prefix)
            self._ship_new(job, root.bucket, prefix, self._shipped[job.name])
        except JobAbsent:
            return
        except ClientError as error:
            # one tenant's missing bucket or another shipper must not hold up the others: look anew next time
            self._shipped.pop(job.name, None)
            log.warning("log was not taken", bucket=root.bucket, error=str(error), **job.log_fields)
        except BotoCoreError as error:
            raise StorageUnavailable(f"the object store takes no logs: {error}") from error

    def _ship_new(self, job: Job, bucket: str, prefix: str, shipped: Shipped) -> None:
        while chunk := self._next_chunk(job, shipped.offset):
            self._put(bucket, f"{prefix}{shipped.chunks:06d}.log", chunk)
            shipped.chunks += 1
            shipped.offset += len(chunk)
            metrics.LOG_BYTES.inc(len(chunk))
        if isinstance(job.state, Ended) and not shipped.complete:
            self._put(bucket, prefix + COMPLETE, b"")
            shipped.complete = True

    def _next_chunk(self, job: Job, offset: int) -> bytes:
        """Whole lines, as long as they fit; the rest only when the job was seen ended before it was read."""
        data = self._source.read_log(job.attempt, offset, CHUNK_BYTES)
        whole = data.rfind(b"\n") + 1
        if whole:
            return data[:whole]
        return data if isinstance(job.state, Ended) or len(data) == CHUNK_BYTES else b""

    def _put(self, bucket: str, key: str, body: bytes) -> None:
        self._s3.put_object(Bucket=bucket, Key=key, Body=body, ContentType="text/plain; charset=utf-8", IfNoneMatch="*")

    def _find(self, bucket: str, prefix: str) -> Shipped:
        found = Shipped()
        for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for item in page.get("Contents", ()):
                if item["Key"] == prefix + COMPLETE:
                    found.complete = True
                else:
                    found.chunks += 1
                    found.offset += item["Size"]
        return found
