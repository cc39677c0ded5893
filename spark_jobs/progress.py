"""How far a run is, as Spark's scheduler sees it."""

from contextlib import suppress
from dataclasses import dataclass

from py4j.protocol import Py4JError
from pyspark.sql import SparkSession

from contracts.callback import Progress


@dataclass(slots=True)
class Tracker:
    """What the run is doing. Written by the run, read by the heartbeats."""

    phase: str = "starting Spark"
    spark: SparkSession | None = None
    waiting: str | None = None
    """What the run waits for, if it waits."""

    def progress(self) -> Progress:
        """The phase, and the tasks of the stages that are running."""
        done = total = 0
        if self.spark is not None:
            try:
                tracker = self.spark.sparkContext.statusTracker()
                stages = [tracker.getStageInfo(number) for number in tracker.getActiveStageIds()]
            except (Py4JError, AttributeError, OSError):  # Spark is being stopped at this moment
                stages = []
            done = sum(stage.numCompletedTasks for stage in stages if stage is not None)
            total = sum(stage.numTasks for stage in stages if stage is not None)
        if not total:
            return Progress(stage=self.phase, waiting=self.waiting)
        return Progress(fraction=done / total, stage=self.phase, tasks_done=done, tasks_total=total, waiting=self.waiting)

    def stop(self) -> None:
        """End Spark, if it was started and still lives."""
        if self.spark is not None:
            with suppress(Py4JError, OSError):  # its JVM may have gone before, by the same signal
                self.spark.stop()

    def cancel(self) -> None:
        """Stop what Spark is running: the thread that waits for it gets an error."""
        if self.spark is not None:
            self.spark.sparkContext.cancelAllJobs()
