"""The catalog as it is now: its files are read again when they change, so that a new action needs no restart."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from contracts.catalog import DEFAULT_IMAGE, Catalog
from contracts.errors import CatalogError

_Marks = tuple[tuple[str, int, int], ...]


class LiveCatalog:
    """Reads the folders at once (and raises `CatalogError`), later again whenever a file changed.

    A later catalog that is wrong is reported to `on_error` and the last good one stays in force.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        on_error: Callable[[CatalogError], None],
        *,
        default_image: str = DEFAULT_IMAGE,
        check_seconds: float = 1.0,
    ) -> None:
        self._folders = folders
        self._load = partial(Catalog.load, *folders, default_image=default_image)
        self._on_error = on_error
        self._check_seconds = check_seconds
        self._marks = self._look()
        self._catalog = self._load()
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
                    self._catalog = self._load()
                except CatalogError as error:
                    self._on_error(error)
        return self._catalog

    def _look(self) -> _Marks:
        try:
            # a ConfigMap is swapped by a symbolic link: stat() follows it
            return tuple(
                (str(path), (found := path.stat()).st_mtime_ns, found.st_ino)
                for folder in self._folders
                for path in sorted(folder.glob("*.yaml"))
            )
        except OSError:
            return ()
