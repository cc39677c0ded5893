"""Datasets: read as their manifests say, written into the run's own folder, examined as they lie there."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import types as T

from contracts.command import DatasetName, InputDataset
from contracts.errors import Unreadable
from contracts.layout import PROPOSAL_NAME, DatasetPath
from contracts.manifest import Manifest, schema_fingerprint
from contracts.proposal import Column, DataFile, ProposedDataset
from contracts.reading import DOCUMENT, read
from spark_jobs.columns import type_text
from spark_jobs.edge.object_store import ObjectMissing, ObjectStore, StoredObject
from spark_jobs.errors import InputChanged, OutputMismatch
from spark_jobs.examination import Examination, examine

_SUCCESS = "_SUCCESS"
_NAMED_IN_SUCCESS = 100
"""The committer names at most so many files in `_SUCCESS`."""


@dataclass(frozen=True, slots=True)
class Datasets:
    """Reads and writes datasets with one Spark session and one object store."""

    spark: SparkSession
    store: ObjectStore

    def read(self, path: DatasetPath, wanted: InputDataset) -> DataFrame:
        """The rows of a sealed dataset: exactly the files its manifest names, with the schema it declares.

        Raises:
            InputChanged: the manifest is not the one the command was made for, or a file is not the one it names.
        """
        manifest = self._manifest(path, wanted)
        self._check_files(path, manifest)
        schema = T.StructType([T.StructField(each.name, T.DataType.fromDDL(each.type), each.nullable) for each in manifest.columns])
        if not manifest.files:
            return self.spark.createDataFrame([], schema)
        return self.spark.read.schema(schema).parquet(*(_s3a(path, file.key) for file in manifest.files))

    def write(self, rows: DataFrame, path: DatasetPath, run_id: str) -> None:
        """Write `rows` into the run's folder. Its files become visible all at once."""
        rows.write.mode("errorifexists").parquet(_s3a(path, path.run_prefix(run_id)))
        # The committer leaves an empty object that stands for the folder. It is no file of the dataset.
        self.store.delete(path.root.bucket, path.run_prefix(run_id))

    def propose(self, path: DatasetPath, run_id: str, schema: T.StructType, quality: Mapping[str, Any]) -> ProposedDataset:
        """What the run made, read back from where it lies.

        Raises:
            OutputMismatch: the folder has other files than were committed.
        """
        prefix = path.run_prefix(run_id)
        listing = {item.key.removeprefix(prefix): item for item in self.store.list(path.root.bucket, prefix)}
        self._check_committed(path, run_id, listing)
        files = {name: item for name, item in listing.items() if name not in (_SUCCESS, PROPOSAL_NAME)}
        found = examine(self.spark.read.schema(schema).parquet(_s3a(path, prefix)))
        if not found.rows_by_file.keys() <= files.keys():
            raise OutputMismatch(f"Spark reads files that the listing lacks: {sorted(found.rows_by_file.keys() - files.keys())}")
        return _proposed(path, schema, files, found, quality)

    def _manifest(self, path: DatasetPath, wanted: InputDataset) -> Manifest:
        name = f"{path.entity_id}/{path.data_version}/{path.dataset}"
        try:
            body = self.store.get(path.root.bucket, path.manifest_key)
        except ObjectMissing as error:
            raise InputChanged(f"the input {name} is not sealed: there is no {path.manifest_key}") from error
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        if digest != wanted.manifest_sha256:
            raise InputChanged(f"the manifest of the input {name} is {digest}, the work was accepted for {wanted.manifest_sha256}")
        try:
            return read(Manifest, body, DOCUMENT)
        except Unreadable as error:
            raise InputChanged(f"the manifest of the input {name} cannot be read: {error}") from error

    def _check_files(self, path: DatasetPath, manifest: Manifest) -> None:
        prefix = path.run_prefix(manifest.run_id)
        stored = {item.key: item for item in self.store.list(path.root.bucket, prefix)}
        for file in manifest.files:
            if stored.get(file.key) != StoredObject(file.key, file.size, file.etag):
                state = "has changed since it was sealed" if file.key in stored else "is gone"
                raise InputChanged(f"the file {path.uri(file.key)} {state}")

    def _check_committed(self, path: DatasetPath, run_id: str, listing: Mapping[str, StoredObject]) -> None:
        try:
            summary = json.loads(self.store.get(path.root.bucket, f"{path.run_prefix(run_id)}{_SUCCESS}"))
        except ObjectMissing as error:
            raise OutputMismatch(f"the committer left no {_SUCCESS} in {path.run_prefix(run_id)}") from error
        committed = {key.removeprefix("/").removeprefix(path.run_prefix(run_id)) for key in summary["filenames"]}
        present = listing.keys() - {_SUCCESS, PROPOSAL_NAME}
        if not committed <= present or (len(committed) < _NAMED_IN_SUCCESS and committed != present):
            raise OutputMismatch(
                f"the folder {path.run_prefix(run_id)} is not what was committed:"
                f" missing {sorted(committed - present)[:3]}, not committed {sorted(present - committed)[:3]}"
            )


def _proposed(
    path: DatasetPath,
    schema: T.StructType,
    files: Mapping[str, StoredObject],
    found: Examination,
    quality: Mapping[str, Any],
) -> ProposedDataset:
    columns = tuple(Column(name=f.name, type=type_text(f.dataType), nullable=f.nullable) for f in schema.fields)
    return ProposedDataset(
        output=DatasetName(data_version=path.data_version, dataset=path.dataset),
        files=tuple(
            DataFile(key=item.key, size=item.size, rows=found.rows_by_file.get(name, 0), etag=item.etag)
            for name, item in sorted(files.items())
        ),
        rows=sum(found.rows_by_file.values()),
        bytes=sum(item.size for item in files.values()),
        columns=columns,
        schema_fingerprint=schema_fingerprint(columns),
        column_statistics=found.statistics,
        content_fingerprint=found.content_fingerprint,
        quality=dict(quality),
    )


def _s3a(path: DatasetPath, key: str) -> str:
    return f"s3a://{path.root.bucket}/{key}"
