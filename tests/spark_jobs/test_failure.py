"""Failures in words that a person understands."""

import errno
import os
import signal
from pathlib import Path

import pytest
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from spark_jobs.errors import EmptyInput, Terminated
from spark_jobs.failure import describe


@pytest.mark.parametrize(
    ("query", "error_class", "part"),
    [
        ("SELECT nme FROM VALUES ('a') AS t(name)", "UNRESOLVED_COLUMN.WITH_SUGGESTION", "`name`"),
        ("SELECT cast(x AS int) FROM VALUES ('a') AS t(x)", "CAST_INVALID_INPUT", "'a'"),
        ("SELECT 1 / x FROM VALUES (0) AS t(x)", "DIVIDE_BY_ZERO", "Division by zero"),
        ("SELECT raise_error('the data is odd')", "USER_RAISED_EXCEPTION", "the data is odd"),
        ("SELECT (1", "PARSE_SYNTAX_ERROR", "end of input"),
        ("SELECT 1 + array(1)", "DATATYPE_MISMATCH.BINARY_OP_DIFF_TYPES", "array"),
    ],
)
def test_spark_s_class_and_one_line(spark: SparkSession, query: str, error_class: str, part: str) -> None:
    with pytest.raises(Exception) as raised:
        spark.sql(query).collect()
    found = describe(raised.value)
    assert found.class_ == error_class
    assert part.lower() in found.message.lower()
    assert "\n" not in found.message
    assert "SQLSTATE" not in found.message
    assert not found.retryable


def test_a_failing_task_tells_the_cause_not_the_place(spark: SparkSession, tmp_path: Path) -> None:
    rows = spark.sql("SELECT cast(concat('x', id) AS int) AS n FROM range(10)")
    with pytest.raises(Exception) as raised:
        rows.write.option("compression", "none").parquet(f"file://{tmp_path}/out")
    assert describe(raised.value).class_ == "CAST_INVALID_INPUT"


def test_a_corrupt_file(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "part.parquet").write_bytes(b"this is no Parquet")
    with pytest.raises(Exception) as raised:
        spark.read.schema("n int").parquet(f"file://{tmp_path}").collect()
    found = describe(raised.value)
    assert (found.class_, found.retryable) == ("CORRUPT_INPUT", False)
    assert "part.parquet" in found.message


@pytest.mark.parametrize("codec", ["snappy", "gzip", "zstd", "none"])
def test_a_damaged_page(spark: SparkSession, tmp_path: Path, codec: str) -> None:
    pages = f"file://{tmp_path}/{codec}"
    spark.sql("SELECT sha2(string(id), 256) AS s FROM range(0, 2000, 1, 1)").write.option("compression", codec).parquet(pages)
    [part] = (tmp_path / codec).glob("part-*")
    content = bytearray(part.read_bytes())
    # Zstandard without a checksum takes most damage for other text: here its frame loses its beginning
    start = content.index(b"\x28\xb5\x2f\xfd") if codec == "zstd" else 200
    content[start : start + 2000] = b"\xa5" * 2000
    part.write_bytes(content)
    for checksum in (tmp_path / codec).glob(".part-*.crc"):
        checksum.unlink()
    with pytest.raises(Exception) as raised:
        spark.read.parquet(pages).collect()
    found = describe(raised.value)
    assert (found.class_, found.retryable) == ("CORRUPT_INPUT", False)
    assert part.name in found.message


@pytest.mark.parametrize(
    "cause",
    [
        "org.apache.hadoop.fs.s3a.AWSClientIOException: reopen at 4 on s3a://b/part.parquet: software.amazon.awssdk.core.exception.Sdk",
        "java.net.SocketTimeoutException: Read timed out\norg.apache.hadoop.fs.s3a.S3AInputStream",
    ],
)
@pytest.mark.parametrize("place", ["NO_HINT", "CANNOT_READ_FILE_FOOTER"])
def test_a_store_that_fails_in_the_middle_of_a_file(cause: str, place: str) -> None:
    text = f"[FAILED_READ_FILE.{place}] Encountered error while reading file s3a://b/part.parquet. SQLSTATE: KD001\n{cause}"
    found = describe(PySparkException(text))
    assert (found.class_, found.retryable) == ("STORAGE_UNAVAILABLE", True)


def test_a_stack_through_the_client_of_the_store_is_no_failure_of_the_store() -> None:
    text = """\
[FAILED_READ_FILE.NO_HINT] Encountered error while reading file s3a://b/part.parquet. SQLSTATE: KD001
java.io.EOFException: Reached the end of stream with 7 bytes left to read
\tat org.apache.hadoop.fs.s3a.S3AInputStream.read(S3AInputStream.java:1)
"""
    assert describe(PySparkException(text)).class_ == "CORRUPT_INPUT"


def test_own_errors_carry_their_class() -> None:
    assert (describe(EmptyInput("nothing")).class_, describe(EmptyInput("nothing")).message) == ("EMPTY_INPUT", "nothing")
    assert (describe(Terminated("stop")).class_, describe(Terminated("stop")).retryable) == ("TERMINATED", True)
    assert (describe(KeyError("x")).class_, describe(KeyError("x")).retryable) == ("UNEXPECTED_ERROR", True)


def test_a_killed_python_process_on_an_executor(spark: SparkSession) -> None:
    def work(_: int) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(Exception) as raised:
        spark.sparkContext.parallelize([0], 1).foreach(work)
    found = describe(raised.value)
    assert (found.class_, found.retryable) == ("EXECUTOR_LOST", True)
    assert "executor_memory" in found.message


def test_the_call_from_python_is_no_reason(spark: SparkSession) -> None:
    with pytest.raises(Exception) as raised:
        spark.sparkContext._jvm.java.lang.Integer.parseInt("many")
    assert "many" in describe(raised.value).message


LOST = """\
An error occurred while calling o105.parquet.
: org.apache.spark.SparkException: Job aborted due to stage failure: Task 0 in stage 0.0 failed 4 times, most recent failure: \
Lost task 0.3 in stage 0.0 (TID 3) (10.244.0.252 executor 4): ExecutorLostFailure (executor 4 exited caused by one of the running \
tasks) Reason:
The executor with id 4 exited with exit code {code}.

The API gave the following container statuses:

\t container name: executor
\t container state: terminated
"""


@pytest.mark.parametrize("code", ["137(SIGKILL, possible container OOM)", "52(JVM OOM)"])
def test_an_executor_killed_for_memory_says_what_to_ask_for(code: str) -> None:
    """The text is that of a real cluster."""
    found = describe(PySparkException(LOST.format(code=code)))
    assert (found.class_, found.retryable) == ("OUT_OF_MEMORY", False)
    assert "`executor_memory`" in found.message


def test_an_executor_that_was_taken_away_may_be_tried_again() -> None:
    found = describe(PySparkException(LOST.format(code="143(SIGTERM)")))
    assert (found.class_, found.retryable) == ("EXECUTOR_LOST", True)


def test_memory_of_the_driver_is_told_from_that_of_an_executor(spark: SparkSession) -> None:
    with pytest.raises(Exception) as raised:
        spark._jvm.java.lang.reflect.Array.newInstance(spark._jvm.java.lang.Class.forName("java.lang.Object"), 2**31 - 1)  # type: ignore[union-attr]
    found = describe(raised.value)
    assert (found.class_, found.message.count("`driver_memory`")) == ("OUT_OF_MEMORY", 1)


FULL_DISK = {
    "a shuffle": """\
An error occurred while calling o105.parquet.
: org.apache.spark.SparkException: Job aborted due to stage failure: Task 0 in stage 0.0 failed 1 times, most recent failure: \
Lost task 0.0 in stage 0.0 (TID 0) (localhost executor driver): java.io.IOException: No space left on device
""",
    "a spill": """\
: org.apache.spark.SparkException: Job aborted due to stage failure: Task 0 in stage 0.0 failed 1 times, most recent failure: \
Lost task 0.0 in stage 0.0 (TID 0) (localhost executor driver): org.apache.spark.memory.SparkOutOfMemoryError: \
error while calling spill() on org.apache.spark.util.collection.unsafe.sort.UnsafeExternalSorter@1a : No space left on device
""",
    "an upload": """\
: org.apache.spark.SparkException: [TASK_WRITE_FAILED] Task failed while writing rows to s3a://stratum/x. SQLSTATE: 58030
org.apache.hadoop.util.DiskChecker$DiskErrorException: No space available in any of the local directories.
""",
}


@pytest.mark.parametrize("text", FULL_DISK.values(), ids=FULL_DISK.keys())
def test_a_full_disk_of_the_run_may_be_tried_again(text: str) -> None:
    found = describe(PySparkException(text))
    assert (found.class_, found.retryable) == ("NO_SPACE", True)
    assert found.message.startswith("the disk for the run's temporary files")
    assert "\n" not in found.message


def test_a_full_disk_under_the_driver_itself() -> None:
    assert describe(OSError(errno.ENOSPC, "No space left on device", "/scratch/x")).class_ == "NO_SPACE"


def test_a_full_disk_of_the_store_is_the_store_s() -> None:
    text = """\
: org.apache.hadoop.fs.s3a.AWSS3IOException: PUT 0-byte object on x: software.amazon.awssdk.services.s3.model.S3Exception: \
No space left on device (Service: S3, Status Code: 507, Request ID: 1)
"""
    assert describe(PySparkException(text)).class_ == "STORAGE_UNAVAILABLE"


def test_the_kubernetes_api_out_of_reach() -> None:
    text = """\
An error occurred while calling None.org.apache.spark.api.java.JavaSparkContext.
: org.apache.spark.SparkException: External scheduler cannot be instantiated
Caused by: io.fabric8.kubernetes.client.KubernetesClientException: The timeout of 10000 ms has been exceeded when getting a connection
"""
    found = describe(PySparkException(text))
    assert (found.class_, found.retryable) == ("KUBERNETES_UNAVAILABLE", True)
    assert found.message.startswith("the Kubernetes API cannot be used: ")
    assert "The timeout of 10000 ms" in found.message
