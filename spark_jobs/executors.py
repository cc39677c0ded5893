"""Watches over the executors of a run on Kubernetes.

When executors are refused or cannot start, Spark asks for them again and again, and its job looks alive for ever. So a thread
looks whether there are any, says why not, and ends a run that has had none for too long.
"""

import time
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from types import TracebackType

import structlog
from py4j.protocol import Py4JError
from pyspark.sql import SparkSession

from spark_jobs.edge.pods import ExecutorPods
from spark_jobs.errors import ClusterUnreachable, ExecutorsUnavailable
from spark_jobs.missing_executors import why_missing
from spark_jobs.progress import Tracker

log = structlog.get_logger()

LOOK_SECONDS = 2.0
REFUSAL_SECONDS = 15.0
"""Spark asks for missing executors every second: a refusal older than this is over."""


@dataclass(slots=True)
class ExecutorWatch:
    """Tells `tracker` what the run waits for while the context is open. Without effect where Spark's master is no Kubernetes.

    Args:
        tracker: the run.
        patience_seconds: how long the run may want executors and have none.
        refusals: the file in which Spark's scheduler notes executors that it was not allowed to make.
    """

    tracker: Tracker
    patience_seconds: float
    refusals: Path | None
    failure: ExecutorsUnavailable | None = None
    """Why the run's Spark jobs were cancelled, if they were."""
    _stop: Event = field(default_factory=Event)
    _thread: Thread | None = None

    def __enter__(self) -> "ExecutorWatch":
        self._thread = Thread(target=self._watch, name="executors", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self) -> None:
        while self.tracker.spark is None:
            if self._stop.wait(LOOK_SECONDS):
                return
        spark = self.tracker.spark
        if not str(spark.sparkContext.master).startswith("k8s://"):
            return
        pods = ExecutorPods(spark.sparkContext.applicationId)
        served = time.monotonic()
        while not self._stop.wait(LOOK_SECONDS):
            try:
                wanting = _wants_executors(spark)
            except (Py4JError, OSError):  # Spark is being stopped, or is gone: whoever waits for it hears of that
                return
            if not wanting:
                served = time.monotonic()
                self._tell(None)
                continue
            self._tell(self._why(pods) or self.tracker.waiting)
            if time.monotonic() - served > self.patience_seconds:
                self._give_up()

    def _why(self, pods: ExecutorPods) -> str | None:
        try:
            return why_missing(pods.list(), self._refusal())
        except ClusterUnreachable as error:
            log.warning("nothing is known of the executors", reason=str(error))
            return None

    def _refusal(self) -> str | None:
        """The last line of the file, if it is fresh."""
        if self.refusals is None or not self.refusals.exists():
            return None
        if time.time() - self.refusals.stat().st_mtime > REFUSAL_SECONDS:
            return None
        lines = self.refusals.read_text(encoding="utf-8", errors="replace").splitlines()
        return lines[-1] if lines else None

    def _tell(self, words: str | None) -> None:
        if words != self.tracker.waiting:
            self.tracker.waiting = words
            log.warning("the run waits", reason=words) if words else log.info("the run has executors")

    def _give_up(self) -> None:
        """Cancel what runs, and whatever the run starts after it."""
        if self.failure is None:
            why = self.tracker.waiting or "the cluster does not say why"
            self.failure = ExecutorsUnavailable(f"no executor came within {self.patience_seconds:g} s: {why}")
        self.tracker.cancel()


def _wants_executors(spark: SparkSession) -> bool:
    """Whether stages are waiting and nobody is there to work on them."""
    context = spark.sparkContext
    among_them_the_driver = context._jsc.sc().getExecutorMemoryStatus().size()
    return among_them_the_driver <= 1 and bool(context.statusTracker().getActiveStageIds())
