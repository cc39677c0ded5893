"""An action that waits or takes memory, on the driver or on executors, as it is told: the image of the tests of faults."""

import sys
import time

from pyspark.sql import SparkSession

from spark_jobs.actions import ACTIONS, Action, Outcome
from spark_jobs.actions.base import Inputs, Parameters, only
from spark_jobs.cli import main


class Misbehaviour(Parameters):
    seconds: int = 0
    tasks: int = 1
    driver_mebibytes: int = 0
    executor_mebibytes: int = 0


def misbehave(inputs: Inputs, parameters: Misbehaviour) -> Outcome:
    rows = only(inputs)
    if parameters.driver_mebibytes:
        _take(parameters.driver_mebibytes)
    if parameters.seconds or parameters.executor_mebibytes:
        _on_executors(rows.sparkSession, parameters)
    return Outcome(rows.limit(10))


def _on_executors(spark: SparkSession, parameters: Misbehaviour) -> None:
    mebibytes, seconds = parameters.executor_mebibytes, parameters.seconds

    def work(_: int) -> None:
        _take(mebibytes)
        time.sleep(seconds)

    spark.sparkContext.parallelize(range(parameters.tasks), parameters.tasks).foreach(work)


def _take(mebibytes: int) -> None:
    print(f"taking {mebibytes} MiB", flush=True)
    held = [b"\1" * 2**20 for _ in range(mebibytes)]
    print(f"took {len(held)} MiB", flush=True)


ACTIONS["misbehave"] = Action(Misbehaviour, misbehave)

if __name__ == "__main__":
    sys.exit(main())
