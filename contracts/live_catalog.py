"""The catalog as it is now: its files are read again when they change, so that a new action needs no restart."""

import time
from collections.abc import Callable
from pathlib import Path

from contracts.catalog import Catalog
from contracts.errors import CatalogError

_Marks = tuple[tuple[str, int, int], ...]


class LiveCatalog:
    """Reads the folder at once (and raises `CatalogError`), later again whenever a file changed.

    A later catalog that is wrong is reported to `on_error` and the last good one stays in force.
    """

    def __init__(self, folder: Path, on_error: Callable[[CatalogError], None], check_seconds: float = 1.0) -> None:
        self._folder = folder
        self._on_error = on_error
        self._check_seconds = check_seconds
        self._marks = self._look()
        self._catalog = Catalog.load(folder)
        self._next_check = time.monotonic() + check_seconds

    @property
    def current(self) -> Catalog:
        """The last good catalog; looks at the files at most every `check_seconds`."""
        if time.monotonic() >= self._next_check:
            self._next_check = time.monotonic() + self._check_seconds
            marks = self._look()
            if marks != self._marks:
                self._marks = marks
                try:
                    self._catalog = Catalog.load(self._folder)
                except CatalogError as error:
                    self._on_error(error)
        return self._catalog

    def _look(self) -> _Marks:
        try:
            # a ConfigMap is swapped by a symbolic link: stat() follows it
            return tuple((path.name, (found := path.stat()).st_mtime_ns, found.st_ino) for path in sorted(self._folder.glob("*.yaml")))
        except OSError:
            return ()
