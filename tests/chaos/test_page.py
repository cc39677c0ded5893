"""`docs/reliability.md` names tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_named_test_is_there() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", (ROOT / "docs/reliability.md").read_text(encoding="utf-8"))
    assert len(named) > 20
    missing = [f"{file}::{name}" for file, name in named if not _has(ROOT / file, name)]
    assert missing == []


def _has(file: Path, name: str) -> bool:
    return file.exists() and (not name or re.search(rf"def {name}\b", file.read_text(encoding="utf-8")) is not None)
