"""The work of a granted run, inside the tests' Spark session."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from contracts.callback import Grant, Progress
from contracts.command import Command, DatasetName
from contracts.layout import StorageRoot
from contracts.proposal import Proposal
from spark_jobs.driver import Run
from spark_jobs.edge.callbacks import ControlPlane
from spark_jobs.errors import InvalidCommand
from spark_jobs.failure import describe
from spark_jobs.heartbeat import Heartbeats
from spark_jobs.progress import Tracker
from spark_jobs.settings import Settings
from tests.services import Services
from tests.spark_jobs.sealed import ENTITY, VERSION, command, seal

NOWHERE = "http://127.0.0.1:9/callback"
REJECTED = DatasetName(data_version=VERSION, dataset="refused")

Make = Callable[[Command], Run]


@pytest.fixture
def make(spark: SparkSession, services: Services, root: StorageRoot) -> Iterator[Make]:
    lines: list[ControlPlane] = []

    def make(work: Command) -> Run:
        line = ControlPlane(work, "run-1")
        lines.append(line)
        settings = Settings(
            s3_endpoint=services.s3_endpoint, s3_access_key=services.s3_access_key, s3_secret_key=services.s3_secret_key, run_id="run-1"
        )
        grant = Grant(
            run_token="t", expires_at=datetime(2100, 1, 1, tzinfo=UTC), heartbeat_seconds=1.0, storage_root=root.uri, state="started"
        )
        return Run(work, settings, grant, Tracker(), Heartbeats(line, 60.0, Progress, lambda: None))

    yield make
    for line in lines:
        line.close()


@pytest.fixture
def messy() -> pa.Table:
    return pa.table({"amount": ["1.50", "many", "2"], "date": ["2024-10-05", "2024-10-06", "2024-10-07"]})


def proposal(s3: Any, root: StorageRoot, run: Run) -> Proposal:
    reference = run.propose()
    return Proposal.model_validate_json(s3.get_object(Bucket=root.bucket, Key=reference.key)["Body"].read())


def test_refused_rows_become_a_second_dataset(make: Make, s3: Any, root: StorageRoot, messy: pa.Table) -> None:
    work = command(NOWHERE, root, "aggregate_revenue", {"on_invalid": "reject"}, seal(s3, root, "source", messy), rejected_output=REJECTED)
    found = proposal(s3, root, make(work))
    result, rejected = found.datasets
    assert (result.output, result.rows) == (work.output, 1)
    assert (rejected.output, rejected.rows) == (REJECTED, 1)
    folder = root.dataset(ENTITY, VERSION, "refused").run_prefix("run-1")
    assert all(file.key.startswith(folder) for file in rejected.files)
    assert [column.name for column in rejected.columns] == ["amount", "date", "_reason"]
    assert result.quality["rejected_rows"] == 1
    assert (found.metrics.rows_in, found.metrics.rows_out) == (3, 2)


def test_refused_rows_need_a_place(make: Make, s3: Any, root: StorageRoot, messy: pa.Table) -> None:
    work = command(NOWHERE, root, "aggregate_revenue", {"on_invalid": "reject"}, seal(s3, root, "source", messy))
    with pytest.raises(InvalidCommand, match="rejected_output"):
        make(work).propose()


def test_the_same_work_with_other_partitions_has_the_same_fingerprint(make: Make, s3: Any, root: StorageRoot) -> None:
    numbers = [0.1 * n + 1e6 * (n % 7) for n in range(3000)]
    source = seal(s3, root, "source", *(pa.table({"k": [n % 3 for n in range(1000)], "x": numbers[i : i + 1000]}) for i in (0, 1000, 2000)))
    parameters = {"group_by": ["k"], "measures": [{"function": each, "column": "x"} for each in ("sum", "stddev")]}
    found = {
        proposal(
            s3, root, make(command(NOWHERE, root, "aggregate", parameters, source, resource_profile={"shuffle_partitions": partitions}))
        )
        .datasets[0]
        .content_fingerprint
        for partitions in (1, 5)
    }
    assert len(found) == 1


@pytest.mark.parametrize(
    ("action", "parameters", "error_class", "part"),
    [
        ("filter", {"condition": "amuont = '1'"}, "UNRESOLVED_COLUMN.WITH_SUGGESTION", "`amount`"),
        ("filter", {"condition": "cast(amount AS int) > 1"}, "CAST_INVALID_INPUT", "try_cast"),
        ("sql", {"query": "SELECT * FROM text.`/etc/hostname`"}, "QUERY_REFUSED", "declared views"),
        ("sql", {"query": "SELECT source.*, 1 AS amount FROM source"}, "COLUMN_ALREADY_EXISTS", "amount"),
    ],
)
def test_failures_name_their_class_and_what_to_do(
    make: Make, s3: Any, root: StorageRoot, messy: pa.Table, action: str, parameters: dict[str, str], error_class: str, part: str
) -> None:
    run = make(command(NOWHERE, root, action, parameters, seal(s3, root, "source", messy)))
    with pytest.raises(Exception) as raised:
        run.propose()
    found = describe(raised.value)
    assert found.class_ == error_class
    assert part in found.message
    assert "\n" not in found.message
    assert not found.retryable
