"""The generated files: what they hold, writing them, and telling which are stale."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from contracts.access import TABLE
from contracts.asyncapi import asyncapi_document
from contracts.documents import MODELS, json_schema_of
from contracts.states_reference import states_reference

REPOSITORY = Path(__file__).parents[1]


def generated_files() -> Mapping[str, str]:
    """Text of every generated file, by its path from the repository's root."""
    return {
        **{f"contracts/schemas/{name}.json": _json(json_schema_of(name)) for name in MODELS},
        "contracts/asyncapi.json": _json(asyncapi_document()),
        "docs/reference/states.md": states_reference(),
        "helm/stratum/files/access.json": _json([asdict(access) for access in TABLE]),
    }


def write(root: Path) -> list[str]:
    """Write what is stale under `root` and remove what is no longer generated; return the paths."""
    stale = stale_files(root)
    files = generated_files()
    for name in stale:
        path = root / name
        if name in files:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(files[name], encoding="utf-8")
        else:
            path.unlink()
    return stale


def stale_files(root: Path) -> list[str]:
    """Paths under `root` whose file is missing, differs from what the models say, or belongs to no model."""
    files = generated_files()
    wrong = [name for name, text in files.items() if not (path := root / name).is_file() or path.read_text(encoding="utf-8") != text]
    present = (path.relative_to(root).as_posix() for path in (root / "contracts/schemas").glob("*.json"))
    return sorted([*wrong, *(name for name in present if name not in files)])


def _json(document: Any) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
