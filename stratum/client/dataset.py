"""Sealed datasets as tables: exactly the files that the manifest names, checked against what it says of them."""

from collections.abc import Callable, Coroutine, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, nullcontext
from functools import partial, wraps
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar
from urllib.parse import urlsplit

from anyio import to_thread

from contracts.http import Dataset
from contracts.proposal import DataFile
from stratum.client.objects import LinkedObjects, Objects, S3Access, StoredObjects
from stratum.errors import CorruptDataset, Invalid, MissingLibrary

if TYPE_CHECKING:
    import duckdb
    import pandas as pd
    import polars as pl
    import pyarrow as pa

FILES_AT_ONCE = 4

P = ParamSpec("P")
T = TypeVar("T")


class SealedDataset:
    """A sealed dataset. `manifest` is the whole document; the methods read the rows.

    Raises (every method that reads):
        CorruptDataset: a file is missing, or does not hold what the manifest says.
        NotFound: the links are no longer good; ask for the dataset again.
        Unavailable: the object store does not answer.
        MissingLibrary: the library that was asked for is not installed.
    """

    def __init__(self, manifest: Dataset, s3: S3Access | None = None) -> None:
        self.manifest = manifest
        self._s3 = s3

    def __repr__(self) -> str:
        m = self.manifest
        return f"<{type(self).__name__} {m.entity_id}/{m.data_version}/{m.dataset}: {m.rows:,} rows, {len(m.columns)} columns>"

    def to_arrow(self, columns: Sequence[str] | None = None) -> "pa.Table":
        """All rows as a `pyarrow.Table`; `columns` are read alone if given."""
        pa = _library("pyarrow")
        self._check_columns(columns)
        with self._objects() as objects, ThreadPoolExecutor(FILES_AT_ONCE) as threads:
            tables = list(threads.map(partial(_read_file, objects, columns), self.manifest.files))
        if tables:
            from stratum.client.one_table import one_table

            return one_table(tables)
        names = columns or [column.name for column in self.manifest.columns]
        return pa.table({name: pa.nulls(0) for name in names})

    def to_pandas(self, columns: Sequence[str] | None = None) -> "pd.DataFrame":
        """All rows as a `pandas.DataFrame`."""
        _library("pandas")
        frame: pd.DataFrame = self.to_arrow(columns).to_pandas()
        return frame

    def to_polars(self, columns: Sequence[str] | None = None) -> "pl.DataFrame":
        """All rows as a `polars.DataFrame`."""
        frame: pl.DataFrame = _library("polars").from_arrow(self.to_arrow(columns))
        return frame

    def to_duckdb(self, connection: "duckdb.DuckDBPyConnection", name: str | None = None) -> "duckdb.DuckDBPyRelation":
        """All rows as a relation of `connection`; with `name` also as a view there."""
        _library("duckdb")
        table = self.to_arrow()
        if name:
            connection.register(name, table)
        return connection.from_arrow(table)

    def head(self, rows: int = 20) -> list[dict[str, Any]]:
        """The first rows as plain objects, without fetching the files whole. Sealed data has no order unless its action gave it one."""
        with self._objects() as objects, closing(self._batches(objects, rows)) as batches:
            return list(islice((row for batch in batches for row in batch.to_pylist()), rows))

    def download(self, folder: str | Path) -> list[Path]:
        """Write the files into `folder` (made if needed), under their own names; returns the paths."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with self._objects() as objects, ThreadPoolExecutor(FILES_AT_ONCE) as threads:
            return list(threads.map(partial(_download_file, objects, folder), self.manifest.files))

    def _objects(self) -> AbstractContextManager[Objects]:
        if self._s3:
            return nullcontext(StoredObjects(self._s3, urlsplit(self.manifest.location).netloc))
        return LinkedObjects({link.key: link.url for link in self.manifest.urls})

    def _batches(self, objects: Objects, rows: int) -> Generator["pa.RecordBatch", None, None]:
        pa, pq = _library("pyarrow"), _library("pyarrow.parquet")
        for file in self.manifest.files:
            try:
                with objects.opened(file) as source:
                    yield from pq.ParquetFile(source, pre_buffer=False).iter_batches(batch_size=max(1, rows))
            except (pa.ArrowException, OSError) as error:
                raise CorruptDataset(f"{file.key} cannot be read as Parquet: {str(error).strip()}") from error

    def _check_columns(self, columns: Sequence[str] | None) -> None:
        known = [column.name for column in self.manifest.columns]
        if unknown := [name for name in columns or () if name not in known]:
            raise Invalid(f"There is no column {', '.join(map(repr, unknown))}.", f"There are: {', '.join(known)}")


def _read_file(objects: Objects, columns: Sequence[str] | None, file: DataFile) -> "pa.Table":
    pa, pq = _library("pyarrow"), _library("pyarrow.parquet")
    try:
        table = pq.ParquetFile(pa.BufferReader(_whole(objects, file))).read(columns=columns)
    except (pa.ArrowException, OSError) as error:
        raise CorruptDataset(f"{file.key} cannot be read as Parquet: {str(error).strip()}") from error
    if table.num_rows != file.rows:
        raise CorruptDataset(f"{file.key} has {table.num_rows:,} rows; the manifest says {file.rows:,}.")
    return table


def _download_file(objects: Objects, folder: Path, file: DataFile) -> Path:
    path = folder / Path(file.key).name
    path.write_bytes(_whole(objects, file))
    return path


def _whole(objects: Objects, file: DataFile) -> "pa.Buffer":
    buffer = objects.whole(file)
    if buffer.size != file.size:
        raise CorruptDataset(f"{file.key} has {buffer.size:,} bytes; the manifest says {file.size:,}.")
    return buffer


def _in_thread(
    method: Callable[Concatenate[SealedDataset, P], T],
) -> Callable[Concatenate["AsyncSealedDataset", P], Coroutine[Any, Any, T]]:
    @wraps(method)
    async def call(self: "AsyncSealedDataset", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await to_thread.run_sync(partial(method, self.blocking, *args, **kwargs))

    return call


class AsyncSealedDataset:
    """A sealed dataset, for asyncio: the methods of `SealedDataset` (which is `blocking`), each in a worker thread."""

    def __init__(self, manifest: Dataset, s3: S3Access | None = None) -> None:
        self.manifest = manifest
        self.blocking = SealedDataset(manifest, s3)

    to_arrow = _in_thread(SealedDataset.to_arrow)
    to_pandas = _in_thread(SealedDataset.to_pandas)
    to_polars = _in_thread(SealedDataset.to_polars)
    to_duckdb = _in_thread(SealedDataset.to_duckdb)
    head = _in_thread(SealedDataset.head)
    download = _in_thread(SealedDataset.download)


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise MissingLibrary(name.partition(".")[0]) from error
