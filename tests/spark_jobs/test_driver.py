"""Whole runs: `spark-submit`, a real S3 server, the callback protocol."""

import hashlib
import json
import os
import signal
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from contracts.layout import StorageRoot
from contracts.proposal import Proposal
from tests.spark_jobs.conftest import Submitter
from tests.spark_jobs.control_plane import CallbackServer
from tests.spark_jobs.sealed import ENTITY, command, seal


def orders() -> pa.Table:
    return pa.table(
        {
            "order_id": pa.array([1, 2, 3, 4], pa.int64()),
            "amount": pa.array([Decimal("10.20"), Decimal("5.30"), Decimal("7.00"), None], pa.decimal128(10, 2)),
            "currency": ["EUR", "EUR", "USD", "EUR"],
        }
    )


def keys(s3: Any, root: StorageRoot) -> set[str]:
    return {item["Key"] for item in s3.list_objects_v2(Bucket=root.bucket, Prefix=root.prefix).get("Contents", [])}


def test_a_granted_run_writes_proposes_and_reports(submit: Submitter, s3: Any, root: StorageRoot, callbacks: CallbackServer) -> None:
    source = seal(s3, root, "source", orders(), orders())
    work = command(callbacks.url, root, "aggregate_revenue", {"currency": "overridden by a flag"}, source)
    before = keys(s3, root)

    flags = ["--parameters", json.dumps({"currency": "EUR"}), "--time-limit-seconds", "30"]
    code, output = submit.run(work, *flags, STRATUM_RUN_ID="pod-uid-1")

    assert code == 0, output
    assert [callbacks.reports[0]["type"], callbacks.reports[-1]["type"]] == ["started", "finished"]
    assert [report["sequence"] for report in callbacks.reports] == list(range(1, len(callbacks.reports) + 1))
    assert {report["run_id"] for report in callbacks.reports} == {"pod-uid-1"}
    assert callbacks.tokens == ["the-flow-token", *(f"run-token-{n}" for n in range(1, len(callbacks.reports)))]
    assert all(report["progress"]["stage"] for report in callbacks.of_type("heartbeat"))

    reference = callbacks.reports[-1]["proposal"]
    body = s3.get_object(Bucket=root.bucket, Key=reference["key"])["Body"].read()
    assert reference["sha256"] == f"sha256:{hashlib.sha256(body).hexdigest()}"
    proposal = Proposal.model_validate_json(body)
    [dataset] = proposal.datasets
    folder = root.dataset(ENTITY, work.output.data_version, work.output.dataset).run_prefix("pod-uid-1")
    assert {file.key for file in dataset.files} | {f"{folder}_SUCCESS", f"{folder}_proposal.json"} == keys(s3, root) - before
    [file] = dataset.files
    assert file.key.startswith(f"{folder}part-")
    assert file.key.endswith(".zstd.parquet")
    data = s3.get_object(Bucket=root.bucket, Key=file.key)["Body"].read()
    assert len(data) == file.size == dataset.bytes
    assert pq.read_table(pa.BufferReader(data)).to_pylist() == [{"currency": "EUR", "revenue": Decimal("31.00"), "count": 4}]
    assert [(column.name, column.type) for column in dataset.columns] == [
        ("currency", "string"),
        ("revenue", "decimal(20,2)"),
        ("count", "bigint"),
    ]
    assert dataset.column_statistics["revenue"].min == "31.00"
    assert dataset.quality["null_amounts"] == 2
    assert dataset.content_fingerprint is not None
    assert (proposal.metrics.rows_in, proposal.metrics.rows_out) == (8, 1)


def test_a_withdrawn_grant_stops_the_run(submit: Submitter, s3: Any, root: StorageRoot, callbacks: CallbackServer) -> None:
    source = seal(s3, root, "source", orders())
    query = "SELECT sum(a.id * b.id % 7) AS s FROM range(1000000) a CROSS JOIN range(1000000) b"  # days of work
    callbacks.answer = lambda report: (410, {"detail": "cancelled"}) if report.get("progress", {}).get("tasks_total") else None

    code, _ = submit.run(command(callbacks.url, root, "sql", {"query": query}, source))

    assert code == 3
    assert not callbacks.of_type("failed")
    assert not callbacks.of_type("finished")


def test_sigterm_is_reported(submit: Submitter, s3: Any, root: StorageRoot, callbacks: CallbackServer) -> None:
    source = seal(s3, root, "source", orders())
    query = "SELECT sum(a.id * b.id % 7) AS s FROM range(1000000) a CROSS JOIN range(1000000) b"
    with submit.start(command(callbacks.url, root, "sql", {"query": query}, source)) as process:
        callbacks.wait_for("heartbeat")
        os.killpg(process.pid, signal.SIGTERM)  # both Spark's JVM and the driver get it, as from the launcher
        output, _ = process.communicate(timeout=60)

    assert process.returncode == 143, output
    error = callbacks.wait_for("failed", 5)["error"]
    assert (error["class"], error["retryable"]) == ("TERMINATED", True)
