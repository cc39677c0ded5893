"""The check of schemas, and the validator."""

from datetime import date
from typing import Any

import pytest

from contracts.json_schema import check_schema, validator_of


@pytest.mark.parametrize(
    ("pattern", "good", "bad"),
    [
        ("^[a-z]+$", "abc", "abc\n"),
        ("^(a|b$)", "b", "b\n"),
        (r"^\$$", "$", "$\n"),
        (r"^\\$", "\\", "\\\n"),
        ("^[$]+$", "$$", "$\n"),
        (r"^[\]$]$", "]", "$\n"),
    ],
)
def test_the_end_is_the_end(pattern: str, good: str, bad: str) -> None:
    assert validator_of({"pattern": pattern}).is_valid(good)
    assert not validator_of({"pattern": pattern}).is_valid(bad)


def test_patterns_are_for_texts() -> None:
    assert validator_of({"pattern": "^a$"}).is_valid(5)


def test_a_wrong_text_is_named() -> None:
    (problem,) = validator_of({"properties": {"currency": {"pattern": "^[A-Z]{3}$"}}}).iter_errors({"currency": "EUR\n"})
    assert problem.json_path == "$.currency"
    assert "'EUR\\n'" in problem.message


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"type": "string"}}},
        {"properties": {"$ref": {"type": "string"}}},
        {"$ref": "https://json-schema.org/draft/2020-12/schema"},
    ],
)
def test_sound_schemas(schema: dict[str, Any]) -> None:
    check_schema(schema)


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ({"type": "objekt"}, "objekt"),
        ({"properties": {"a": {"minimum": "0"}}}, "minimum"),
        ({"pattern": "["}, "regex"),
        ({"$ref": "#/$defs/nowhere"}, "nowhere"),
        ({"items": [{"a": 1}]}, "items"),
        ({"properties": {"a": {"$ref": "https://example.com/elsewhere.json"}}}, "elsewhere"),
        ({"const": date(2026, 1, 1)}, "JSON does not have"),
    ],
)
def test_unsound_schemas(schema: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        check_schema(schema)
