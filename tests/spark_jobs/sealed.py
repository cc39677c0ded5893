"""Sealed input datasets and commands, as the control plane would make them."""

import hashlib
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq

from contracts.command import Command, DatasetName, InputDataset
from contracts.identifiers import new_id
from contracts.layout import StorageRoot
from contracts.manifest import Manifest, schema_fingerprint
from contracts.proposal import Column, DataFile

ENTITY, VERSION = "cust_8842", "v2024.10.05"
NO_REVISION = f"sha256:{'0' * 64}"


def seal(s3: Any, root: StorageRoot, dataset: str, *tables: pa.Table, types: dict[str, str] | None = None) -> InputDataset:
    """Upload the tables as one file each, and seal them; `types` are Spark's types of the columns."""
    path = root.dataset(ENTITY, VERSION, dataset)
    run_id = str(uuid4())
    files = []
    for number, table in enumerate(tables):
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        body = sink.getvalue().to_pybytes()
        key = f"{path.run_prefix(run_id)}part-{number:05d}.zstd.parquet"
        etag = s3.put_object(Bucket=root.bucket, Key=key, Body=body)["ETag"].strip('"')
        files.append(DataFile(key=key, size=len(body), rows=table.num_rows, etag=etag))
    columns = tuple(Column(name=f.name, type=(types or {}).get(f.name) or spark_type(f.type)) for f in tables[0].schema)
    manifest = Manifest(
        tenant="acme",
        entity_id=ENTITY,
        data_version=VERSION,
        dataset=dataset,
        process_id=None,
        step=None,
        attempt=None,
        run_id=run_id,
        location=path.uri(path.run_prefix(run_id)),
        action=None,
        action_revision=None,
        parameters={},
        inputs=(),
        image=None,
        code_version=None,
        spark_version=None,
        created_at=datetime.now(UTC),
        files=tuple(files),
        rows=sum(file.rows for file in files),
        bytes=sum(file.size for file in files),
        columns=columns,
        schema_fingerprint=schema_fingerprint(columns),
    )
    body = manifest.to_bytes()
    s3.put_object(Bucket=root.bucket, Key=path.manifest_key, Body=body)
    return InputDataset(
        view="source",
        data_version=VERSION,
        dataset=dataset,
        manifest_sha256=f"sha256:{hashlib.sha256(body).hexdigest()}",
        bytes=manifest.bytes,
        rows=manifest.rows,
    )


def spark_type(kind: pa.DataType) -> str:
    names = {
        pa.int64(): "bigint",
        pa.int32(): "int",
        pa.float64(): "double",
        pa.string(): "string",
        pa.date32(): "date",
        pa.bool_(): "boolean",
    }
    return names.get(kind) or (f"decimal({kind.precision},{kind.scale})" if pa.types.is_decimal(kind) else "timestamp")


def command(url: str, root: StorageRoot, action: str, parameters: dict[str, Any], *inputs: InputDataset, **changes: Any) -> Command:
    fields = {
        "message_id": uuid4(),
        "tenant": "acme",
        "process_id": new_id(),
        "step": 0,
        "attempt": 1,
        "entity_id": ENTITY,
        "data_version": VERSION,
        "action": action,
        "parameters": parameters,
        "action_revision": NO_REVISION,
        "image": "stratum-spark-jobs",
        "entry_point": "spark_jobs",
        "inputs": inputs,
        "output": DatasetName(data_version=VERSION, dataset=f"out_{uuid4().hex[:8]}"),
        "storage_root": root.uri,
        "callback_url": url,
        "start_before": datetime(2100, 1, 1, tzinfo=UTC),
        "time_limit_seconds": 600,
        "resource_profile": {"shuffle_partitions": 4},
        "flow_token": "the-flow-token",
    }
    return Command.model_validate(fields | changes)
