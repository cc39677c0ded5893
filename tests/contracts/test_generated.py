"""The generated files: fresh as committed, and a stale one is named."""

import shutil
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from contracts.documents import MODELS, json_schema_of
from contracts.generate import REPOSITORY, generated_files, stale_files, write


def test_the_committed_files_are_fresh() -> None:
    assert stale_files(REPOSITORY) == []


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for name in generated_files():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, tmp_path / name)
    return tmp_path


def test_a_changed_a_missing_and_a_leftover_file_are_named_and_mended(copy: Path) -> None:
    changed, missing, leftover = "contracts/asyncapi.json", "docs/reference/states.md", "contracts/schemas/old.json"
    (copy / changed).write_text((copy / changed).read_text(encoding="utf-8") + " ", encoding="utf-8")
    (copy / missing).unlink()
    (copy / leftover).write_text("{}", encoding="utf-8")
    assert stale_files(copy) == sorted([changed, leftover, missing])
    assert write(copy) == sorted([changed, leftover, missing])
    assert stale_files(copy) == []
    assert not (copy / leftover).exists()


@pytest.mark.parametrize("name", MODELS)
def test_schemas_are_of_the_2020_12_draft_and_described(name: str) -> None:
    schema = json_schema_of(name)
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == f"urn:stratum:schema:v1:{name}"
    undescribed = [
        title for title, part in {name: schema, **schema.get("$defs", {})}.items() if not (part.get("title") and part.get("description"))
    ]
    assert undescribed == []
