"""Small JSON files that only their owner may read: what must be the same at the next start."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from stratum.local.errors import StateUnreadable
from stratum.local.private_file import write_private

S = TypeVar("S", bound=BaseModel)


class StateModel(BaseModel):
    """Base of what is kept: unknown or missing fields mean another version wrote it."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def load(path: Path, kind: type[S]) -> S | None:
    """The state in `path`, or None when there is none yet.

    Raises:
        StateUnreadable: the file is damaged or of another version.
    """
    try:
        return kind.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise StateUnreadable(
            f"{path} cannot be used: {error}.",
            "Use the version of Stratum that wrote it, or another STRATUM_HOME, or move the folder away to begin anew.",
        ) from error


def save(path: Path, state: BaseModel) -> None:
    """Replace `path` by `state` at once; mode 0600."""
    write_private(path, state.model_dump_json(indent=2) + "\n")
