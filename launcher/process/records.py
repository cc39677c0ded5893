"""The jobs of a root, as their folders tell of them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from contracts.command import Command
from contracts.sizing import Resources
from launcher.errors import BackendUnavailable, JobAbsent
from launcher.job import JobSpec
from launcher.process.folder import JobFolder


@dataclass(frozen=True, slots=True)
class Record:
    """A job and its folder; `submitted_at` in nanoseconds since 1970."""

    folder: JobFolder
    spec: JobSpec
    submitted_at: int

    @classmethod
    def read(cls, folder: JobFolder) -> "Record":
        """What lies in the folder.

        Raises:
            BackendUnavailable: it is damaged.
        """
        try:
            document: dict[str, Any] = folder.spec()
            command = Command.model_validate_json(folder.command_file.read_bytes())
            spec = JobSpec(command, Resources.model_validate(document["resources"]), document["digest"])
            return cls(folder, spec, document["submitted_at"])
        except (ValidationError, ValueError, KeyError) as error:
            raise BackendUnavailable(f"the job folder {folder.path} is damaged: look at it, then remove it ({error})") from error


class Records:
    """Every job of `root`. What was asked of a job never changes, so it is read once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: dict[str, Record] = {}

    def all(self) -> list[Record]:
        """All there are."""
        found = (self.get(folder.name) for folder in JobFolder.all(self._root))
        return [record for record in found if record is not None]

    def get(self, name: str) -> Record | None:
        """The job of that name; None when there is none."""
        folder = JobFolder(self._root / name)
        if not folder.path.is_dir():
            return None
        record = self._known.get(name)
        if record is None:
            try:
                record = Record.read(folder)
            except FileNotFoundError:
                if folder.path.is_dir():
                    raise
                return None  # it was removed between the two looks
            self._known[name] = record
        return record

    def existing(self, name: str) -> Record:
        """The job of that name.

        Raises:
            JobAbsent: there is none.
        """
        record = self.get(name)
        if record is None:
            raise JobAbsent(f"there is no job {name}")
        return record

    def forget(self, name: str) -> None:
        """Its folder was removed."""
        self._known.pop(name, None)
