"""Reading the data files of a dataset: by presigned links, or from the store itself."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

import httpx
import stamina

from contracts.proposal import DataFile
from stratum.errors import CorruptDataset, NotFound, StratumError, Unavailable

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.fs

RETRY_SECONDS = 45.0


class Objects(Protocol):
    """Where data files come from. Usable from several threads at once."""

    def whole(self, file: DataFile) -> "pa.Buffer":
        """All bytes of `file`."""

    def opened(self, file: DataFile) -> "pa.NativeFile":
        """`file` for reading here and there, without fetching all of it."""


@dataclass(frozen=True)
class S3Access:
    """Credentials for reading from the object store itself."""

    endpoint: str
    access_key: str
    secret_key: str = field(repr=False)
    region: str = "us-east-1"


class LinkedObjects:
    """Data files behind presigned links. `links` maps keys to URLs. A context manager, that closes the connections."""

    def __init__(self, links: Mapping[str, str]) -> None:
        self._links = links
        self._http = httpx.Client(timeout=httpx.Timeout(60.0, connect=5.0))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._http.close()

    def whole(self, file: DataFile) -> "pa.Buffer":
        """All bytes of `file`, in one request."""
        import pyarrow as pa

        return pa.py_buffer(self._get(file, {}))

    def opened(self, file: DataFile) -> "pa.NativeFile":
        """`file` by range requests."""
        import pyarrow as pa

        return pa.PythonFile(_Ranges(self, file), mode="r")

    def range(self, file: DataFile, begin: int, end: int) -> bytes:
        """The bytes from `begin` up to, and without, `end`."""
        return self._get(file, {"Range": f"bytes={begin}-{end - 1}"})

    def _get(self, file: DataFile, headers: Mapping[str, str]) -> bytes:
        for attempt in stamina.retry_context(on=Unavailable, attempts=None, timeout=RETRY_SECONDS):
            with attempt:
                return self._get_once(file, headers)
        raise AssertionError("stamina returns or raises")

    def _get_once(self, file: DataFile, headers: Mapping[str, str]) -> bytes:
        try:
            response = self._http.get(self._links[file.key], headers=headers)
        except httpx.TransportError as error:
            raise Unavailable(f"The object store cannot be reached: {error or type(error).__name__}.") from error
        if response.is_success:
            return response.content
        raise _store_error(file.key, response.status_code)


class _Ranges(io.RawIOBase):
    """A linked object as a seekable file."""

    def __init__(self, objects: LinkedObjects, file: DataFile) -> None:
        self._objects = objects
        self._file = file
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._file.size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        end = self._file.size if size is None or size < 0 else min(self._file.size, self._position + size)
        if end <= self._position:
            return b""
        data = self._objects.range(self._file, self._position, end)
        self._position += len(data)
        return data


class StoredObjects:
    """Data files in the store itself. `bucket` is that of the dataset's location."""

    def __init__(self, access: S3Access, bucket: str) -> None:
        import pyarrow.fs

        scheme, _, host = access.endpoint.rpartition("://")
        self._bucket = bucket
        self._store = pyarrow.fs.S3FileSystem(
            access_key=access.access_key,
            secret_key=access.secret_key,
            region=access.region,
            endpoint_override=host,
            scheme=scheme or "https",
        )

    def whole(self, file: DataFile) -> "pa.Buffer":
        """All bytes of `file`."""
        try:
            with self.opened(file) as stream:
                return stream.read_buffer()
        except OSError as error:
            raise _of_arrow(file.key, error) from error

    def opened(self, file: DataFile) -> "pa.NativeFile":
        """`file` by range requests."""
        try:
            return self._store.open_input_file(f"{self._bucket}/{file.key}")
        except OSError as error:
            raise _of_arrow(file.key, error) from error


def _of_arrow(key: str, error: OSError) -> StratumError:
    if isinstance(error, FileNotFoundError):
        return _store_error(key, 404)
    return Unavailable(f"The object store does not give {key}: {error}", "Check endpoint and credentials.")


def _store_error(key: str, status: int) -> StratumError:
    if status == 404:
        return CorruptDataset(f"The manifest names {key}, and the store has no such object.")
    if status == 403:
        return NotFound(f"The link to {key} is no longer good.", "Links live for a short time: ask for the dataset again.")
    if status >= 500 or status == 429:
        return Unavailable(f"The object store answers {status} for {key}.", "Try again later.")
    return CorruptDataset(f"The object store answers {status} for {key}.")
