"""The golden examples: the JSON Schemas and the models agree on each, good or bad, and on the place of what is wrong."""

import json
from pathlib import Path

import pytest

from contracts.documents import MODELS
from tests.contracts.verdicts import EXAMPLES, model_verdict, schema_verdict


def _examples(kind: str) -> list[object]:
    return [pytest.param(path, id=f"{path.parent.name}/{path.stem}") for path in sorted(EXAMPLES.glob(f"*/{kind}-*.json"))]


@pytest.mark.parametrize("path", _examples("good"))
def test_good(path: Path) -> None:
    document = json.loads(path.read_text(encoding="utf-8"))
    assert schema_verdict(path.parent.name, document) == set()
    assert model_verdict(path.parent.name, document) == set()


@pytest.mark.parametrize("path", _examples("bad"))
def test_bad(path: Path) -> None:
    example = json.loads(path.read_text(encoding="utf-8"))
    pointer, document = example["pointer"], example["document"]
    # a few rules compare one value with another, which no JSON Schema can
    assert schema_verdict(path.parent.name, document) == (set() if example.get("beyond_json_schema") else {pointer})
    assert model_verdict(path.parent.name, document) == {example.get("model_pointer", pointer)}


@pytest.mark.parametrize("name", MODELS)
def test_every_schema_has_both_kinds_and_the_mission(name: str) -> None:
    stems = {path.stem for path in (EXAMPLES / name).iterdir()}
    assert any(stem.startswith("bad-") for stem in stems)
    assert any(stem.startswith("good-") for stem in stems)
    assert any("mission" in stem for stem in stems)


@pytest.mark.parametrize("path", _examples("good"))
def test_what_a_model_writes_its_schema_allows(path: Path) -> None:
    adapter = MODELS[path.parent.name]
    read = adapter.validate_json(path.read_bytes())
    written = adapter.dump_json(read, by_alias=True)
    assert schema_verdict(path.parent.name, json.loads(written)) == set()
    assert adapter.validate_json(written) == read
