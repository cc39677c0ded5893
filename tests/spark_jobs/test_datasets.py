"""Reading by manifest, writing with the magic committer, and examining what lies there, on a real S3 server."""

from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from contracts.layout import DatasetPath, StorageRoot
from spark_jobs.edge.datasets import Datasets
from spark_jobs.edge.object_store import ObjectStore
from spark_jobs.errors import InputChanged, OutputMismatch
from spark_jobs.fingerprint import fingerprint
from spark_jobs.settings import Settings
from tests.services import Services
from tests.spark_jobs.sealed import ENTITY, VERSION, seal


@pytest.fixture
def datasets(spark: SparkSession, services: Services) -> Datasets:
    settings = Settings(s3_endpoint=services.s3_endpoint, s3_access_key=services.s3_access_key, s3_secret_key=services.s3_secret_key)
    return Datasets(spark, ObjectStore(settings))


@pytest.fixture
def source(root: StorageRoot) -> DatasetPath:
    return root.dataset(ENTITY, VERSION, "source")


def numbers(*values: int) -> pa.Table:
    return pa.table({"n": pa.array(values, pa.int64())})


def files_of(s3: Any, path: DatasetPath) -> list[str]:
    listing = s3.list_objects_v2(Bucket=path.root.bucket, Prefix=path.prefix)["Contents"]
    return [item["Key"] for item in listing if item["Key"].endswith(".parquet")]


def test_exactly_the_files_of_the_manifest_are_read(datasets: Datasets, s3: Any, root: StorageRoot, source: DatasetPath) -> None:
    wanted = seal(s3, root, "source", numbers(1, 2), numbers(3))
    first, _ = files_of(s3, source)
    s3.copy_object(Bucket=root.bucket, Key=f"{first}.zombie.parquet", CopySource=f"{root.bucket}/{first}")
    assert sorted(row["n"] for row in datasets.read(source, wanted).collect()) == [1, 2, 3]


def test_a_sealed_dataset_without_files_is_empty(datasets: Datasets, s3: Any, root: StorageRoot, source: DatasetPath) -> None:
    wanted = seal(s3, root, "source", numbers())
    rows = datasets.read(source, wanted)
    assert (rows.count(), rows.columns) == (0, ["n"])


def test_another_manifest_is_refused(datasets: Datasets, s3: Any, root: StorageRoot, source: DatasetPath) -> None:
    wanted = seal(s3, root, "source", numbers(1))
    seal(s3, root, "source", numbers(2))
    with pytest.raises(InputChanged, match="accepted for"):
        datasets.read(source, wanted)


def test_a_missing_manifest_is_refused(datasets: Datasets, s3: Any, root: StorageRoot, source: DatasetPath) -> None:
    wanted = seal(s3, root, "source", numbers(1))
    s3.delete_object(Bucket=root.bucket, Key=source.manifest_key)
    with pytest.raises(InputChanged, match="not sealed"):
        datasets.read(source, wanted)


def test_a_replaced_file_is_refused(datasets: Datasets, s3: Any, root: StorageRoot, source: DatasetPath) -> None:
    wanted = seal(s3, root, "source", numbers(1), numbers(2))
    one, other = files_of(s3, source)
    s3.copy_object(Bucket=root.bucket, Key=one, CopySource=f"{root.bucket}/{other}")
    with pytest.raises(InputChanged, match="has changed"):
        datasets.read(source, wanted)


def test_a_missing_file_is_refused(datasets: Datasets, s3: Any, root: StorageRoot, source: DatasetPath) -> None:
    wanted = seal(s3, root, "source", numbers(1))
    s3.delete_object(Bucket=root.bucket, Key=files_of(s3, source)[0])
    with pytest.raises(InputChanged, match="is gone"):
        datasets.read(source, wanted)


def test_what_was_written_is_proposed(datasets: Datasets, spark: SparkSession, s3: Any, root: StorageRoot) -> None:
    path = root.dataset(ENTITY, VERSION, "made")
    rows = spark.sql("""
        SELECT id, id * 0.5D AS x, cast(id AS decimal(10, 2)) AS money, timestamp_micros(id) AS at, date'2024-01-01' AS day,
            if(id = 0, null, concat('v', id)) AS text, id > 5 AS flag, array(id) AS items, repeat('long', 100) AS long,
            if(id = 3, double('NaN'), 1.0D) AS nan, if(id = 3, double('-Infinity'), id) AS infinite,
            if(id = 3, float('NaN'), float('Infinity')) AS no_number, null :: int AS nothing
        FROM range(0, 10, 1, 2)
    """)
    datasets.write(rows, path, "run-1")
    found = datasets.propose(path, "run-1", rows.schema, {"checked": True})

    listing = {item["Key"]: item for item in s3.list_objects_v2(Bucket=root.bucket, Prefix=path.run_prefix("run-1"))["Contents"]}
    assert {file.key for file in found.files} == listing.keys() - {f"{path.run_prefix('run-1')}_SUCCESS"}
    assert all((file.size, file.etag) == (listing[file.key]["Size"], listing[file.key]["ETag"].strip('"')) for file in found.files)
    assert [file.rows for file in found.files] == [5, 5]
    assert (found.rows, found.bytes) == (10, sum(file.size for file in found.files))
    assert found.content_fingerprint == fingerprint(rows)
    bounds = {name: (each.min, each.max, each.nulls) for name, each in found.column_statistics.items()}
    assert bounds == {
        "id": (0, 9, 0),
        "x": (0.0, 4.5, 0),
        "money": ("0.00", "9.00", 0),
        "at": ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000009Z", 0),
        "day": ("2024-01-01", "2024-01-01", 0),
        "text": ("v1", "v9", 1),
        "flag": (False, True, 0),
        "items": (None, None, 0),
        "long": (None, None, 0),
        "nan": (1.0, None, 0),
        "infinite": (None, 9.0, 0),
        "no_number": (None, None, 0),
        "nothing": (None, None, 10),
    }
    assert found.quality == {"checked": True}


def test_no_rows_make_a_dataset_too(datasets: Datasets, spark: SparkSession, root: StorageRoot) -> None:
    path = root.dataset(ENTITY, VERSION, "empty")
    rows = spark.sql("SELECT id FROM range(10) WHERE id < 0")
    datasets.write(rows, path, "run-1")
    found = datasets.propose(path, "run-1", rows.schema, {})
    assert (found.rows, [file.rows for file in found.files]) == (0, [0])


def test_a_stray_file_in_the_run_s_folder_is_noticed(datasets: Datasets, spark: SparkSession, s3: Any, root: StorageRoot) -> None:
    path = root.dataset(ENTITY, VERSION, "made")
    rows = spark.range(3)
    datasets.write(rows, path, "run-1")
    s3.put_object(Bucket=root.bucket, Key=f"{path.run_prefix('run-1')}part-x.zstd.parquet", Body=b"stray")
    with pytest.raises(OutputMismatch, match=r"not committed \['part-x.zstd.parquet'\]"):
        datasets.propose(path, "run-1", rows.schema, {})
