"""Schema and model agree far from the examples too: every value of every good example, replaced by all sorts of others."""

import copy
import functools
import json
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest

from contracts.documents import MODELS
from tests.contracts.verdicts import CONTRACTS, EXAMPLES, model_verdict, pointer_to

# No integer written with a fraction (1.0) is among them: JSON Schema counts it as whole, the models want it written so.
OTHERS: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    1,
    -1,
    2,
    0.5,
    -0.5,
    2**31,
    2**63,
    10**30,
    1728216000,
    "",
    "0",
    "1",
    "1.5",
    "true",
    "null",
    "NaN",
    "..",
    "a..b",
    ".a",
    "a.",
    "-a",
    "a\n",
    "a\x00b",
    "a/b",
    "a" * 128,
    "a" * 129,
    "\u0430bc",
    "\u0661",
    "16g",
    "16G",
    "0g",
    "2024-10-05",
    "2024-10-05 12:00:00Z",
    "2024-10-05T12:00:00",
    "2024-10-05T12:00:00Z",
    "2024-10-05T12:00:00.123456789+02:00",
    "2024-10-05T24:00:00Z",
    "2024-10-05t12:00:00z",
    "0192614e6f007a3c9b1d5e8f2a4c7d10",
    "0192614e-6f00-7a3c-9b1d-5e8f2a4c7d10",
    "0192614E-6F00-7A3C-9B1D-5E8F2A4C7D10",
    "0192614e-6f00-4a3c-9b1d-5e8f2a4c7d10",
    "sha256:" + "0" * 64,
    "sha256:" + "0" * 64 + "\n",
    "http://localhost",
    "http://localhost:8080/v1?x=1",
    "http://[::1]:80/",
    "http:///path",
    "https://host name/",
    "javascript:alert(1)",
    "s3://bucket",
    "s3://bucket/prefix",
    "s3://",
    [],
    [None],
    {},
    {"a": 1},
    {"": None},
)


Place = tuple[str | int, ...]


def _places(value: Any, path: Place = ()) -> Iterator[Place]:
    yield path
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from _places(child, (*path, key))


def _at(document: Any, path: Place) -> Any:
    return functools.reduce(lambda value, part: value[part], path, document)


def _with(document: Any, path: Place, value: Any) -> Any:
    if not path:
        return value
    changed = copy.deepcopy(document)
    _at(changed, path[:-1])[path[-1]] = value
    return changed


def _is_free(path: Place) -> bool:
    """Whether anything may lie in there, or the rule for it is beyond what a JSON Schema can say."""
    return bool({"parameters", "examples", "quality", "process_chain", "executor_instances"} & set(path[:-1]))


def _documents_and_places(name: str) -> Iterator[tuple[Any, Place]]:
    """Every place of the good examples, once: another item of a list, or another example with the same place, adds nothing."""
    seen = set()
    for file in sorted((EXAMPLES / name).glob("good-*.json")):
        document = json.loads(file.read_text(encoding="utf-8"))
        for place in _places(document):
            kind = (document.get("type"), *(part for part in place if isinstance(part, str)), len(place))
            if kind not in seen and not _is_free(place):
                seen.add(kind)
                yield document, place


@functools.cache
def _another_engine(name: str) -> jsonschema_rs.Draft202012Validator:
    """The schemas are for parts in other languages, so here one reads them that is not of Python."""
    return jsonschema_rs.Draft202012Validator(json.loads((CONTRACTS / "schemas" / f"{name}.json").read_text(encoding="utf-8")))


def _agree(name: str, document: Any) -> bool:
    return _another_engine(name).is_valid(document) == (not model_verdict(name, document))


@pytest.mark.parametrize("name", MODELS)
def test_any_value_anywhere(name: str) -> None:
    differing = [
        (pointer_to(place), other)
        for document, place in _documents_and_places(name)
        for other in OTHERS
        if not _agree(name, _with(document, place, other))
    ]
    assert differing == []


@pytest.mark.parametrize("name", MODELS)
def test_any_field_missing_or_added(name: str) -> None:
    differing = [
        (pointer_to(place), sorted(set(value) ^ set(variant)))
        for document, place in _documents_and_places(name)
        if isinstance(value := _at(document, place), dict) and not _is_free((*place, ""))
        for variant in (*({key: value[key] for key in value if key != gone} for gone in value), {**value, "unheard_of": 1})
        if not _agree(name, _with(document, place, variant))
    ]
    assert differing == []
