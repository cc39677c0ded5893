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


@pytest.mark.parametrize(
    ("items", "unique"),
    [
        ([1, True, "1", None, 0, False], True),
        ([1, 1.0], False),
        ([{"a": [1], "b": 2}, {"b": 2.0, "a": [1]}], False),
        ([{"a": [True]}, {"a": [1]}], True),
        ([[], {}, "", None], True),
        ([[["a"]], [["a"]]], False),
    ],
)
def test_equal_elements(items: list[Any], unique: bool) -> None:
    assert validator_of({"uniqueItems": True}).is_valid(items) == unique
    assert validator_of({"uniqueItems": False}).is_valid(items)


class _Counted(int):
    """A number that counts how often one like it is compared."""

    compared = 0

    def __eq__(self, other: object) -> bool:
        type(self).compared += 1
        return int(self) == other

    __hash__ = int.__hash__


def test_elements_are_not_compared_one_by_one() -> None:
    assert validator_of({"uniqueItems": True}).is_valid([{"a": _Counted(number)} for number in range(1000)])
    assert _Counted.compared < 10_000


def test_what_is_in_a_list_that_is_too_long_is_not_judged() -> None:
    schema = {"items": {"type": "string"}, "prefixItems": [{"type": "null"}], "contains": {"const": "a"}, "maxItems": 3}
    assert [problem.validator for problem in validator_of(schema).iter_errors([1] * 4)] == ["maxItems"]
    assert {problem.validator for problem in validator_of(schema).iter_errors([1] * 3)} == {"type", "contains"}
    assert [problem.validator for problem in validator_of({"items": {"type": "string"}}).iter_errors([1, "a"])] == ["type"]
