"""Typed rows to Parquet files of a handy size."""

from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import pyarrow as pa
import pyarrow.parquet as pq

ROW_GROUP_ROWS = 131_072
ROW_GROUP_BYTES = 64 << 20
FILE_BYTES = 128 << 20
"""A file that has grown past this is closed and the next begun."""


class PartWriter:
    """Writes `part-00000.zstd.parquet` and so on into `folder`. A context manager; `paths` is complete after it."""

    def __init__(self, folder: Path, schema: pa.Schema, file_bytes: int = FILE_BYTES) -> None:
        self.paths: list[Path] = []
        self.rows = 0
        self._folder = folder
        self._schema = schema
        self._file_bytes = file_bytes
        self._pending: list[pa.RecordBatch] = []
        self._sink: BinaryIO | None = None
        self._writer: pq.ParquetWriter | None = None

    def write(self, batch: pa.RecordBatch) -> None:
        """Take more rows; they reach a file as soon as they fill a row group."""
        self.rows += batch.num_rows
        self._pending.append(batch)
        if sum(b.num_rows for b in self._pending) >= ROW_GROUP_ROWS or sum(b.nbytes for b in self._pending) >= ROW_GROUP_BYTES:
            self._write_row_group()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._pending and error is None:
            self._write_row_group()
        self._close_file()

    def _write_row_group(self) -> None:
        if self._writer is None or self._sink is None:
            path = self._folder / f"part-{len(self.paths):05}.zstd.parquet"
            self.paths.append(path)
            self._sink = path.open("wb")
            self._writer = pq.ParquetWriter(self._sink, self._schema, compression="zstd", coerce_timestamps="us")
        table = pa.Table.from_batches(self._pending)
        self._writer.write_table(table, row_group_size=table.num_rows)
        self._pending = []
        if self._sink.tell() >= self._file_bytes:
            self._close_file()

    def _close_file(self) -> None:
        if self._writer is not None and self._sink is not None:
            self._writer.close()
            self._sink.close()
        self._writer = self._sink = None
