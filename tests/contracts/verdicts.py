"""What the published JSON Schema and the model say of a document: the JSON Pointers of all that is wrong with it."""

import json
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema.exceptions
import pydantic
from jsonschema import Draft202012Validator

from contracts.documents import MODELS
from contracts.json_schema import validator_of

CONTRACTS = Path(__file__).parents[2] / "contracts"
EXAMPLES = CONTRACTS / "examples"


@cache
def published(name: str) -> Draft202012Validator:
    schema = json.loads((CONTRACTS / "schemas" / f"{name}.json").read_text(encoding="utf-8"))
    return validator_of(schema)


def schema_verdict(name: str, document: Any) -> set[str]:
    """Pointers of what the committed schema refuses; empty = good."""
    return {pointer for error in published(name).iter_errors(document) for pointer in _pointers(error)}


def model_verdict(name: str, document: Any) -> set[str]:
    """Pointers of what the model refuses, read from JSON text and from plain Python alike; empty = good."""
    from_text = _refused(lambda: MODELS[name].validate_json(json.dumps(document)), document)
    from_python = _refused(lambda: MODELS[name].validate_python(document), document)
    assert from_text == from_python
    return from_text


def pointer_to(path: Iterable[str | int]) -> str:
    """RFC 6901."""
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in path)


def _refused(validate: Any, document: Any) -> set[str]:
    try:
        validate()
    except pydantic.ValidationError as error:
        pointers = {pointer_to(_inside(document, problem)) for problem in error.errors()}
        # a list with a broken item is reported as too short besides: that follows from the item
        return {pointer for pointer in pointers if not any(other.startswith(f"{pointer}/") for other in pointers)}
    return set()


def _inside(document: Any, problem: Any) -> Iterator[str | int]:
    """Pydantic's location without the steps that only name an alternative of a union, or a dictionary's key."""
    at = document
    location = problem["loc"]
    for number, part in enumerate(location):
        if (isinstance(at, dict) and part in at) or (isinstance(at, list) and isinstance(part, int)):
            at = at[part]
            yield part
        elif number == len(location) - 1 and isinstance(at, dict) and part != "[key]":
            yield part
    if problem["type"].startswith("union_tag"):
        yield "type"


def _pointers(error: jsonschema.exceptions.ValidationError) -> Iterator[str]:
    if error.context:
        for cause in _closest_alternative(error.context):
            yield from _pointers(cause)
    elif error.validator == "required":
        yield from (pointer_to([*error.absolute_path, name]) for name in error.validator_value if name not in error.instance)
    elif error.validator == "additionalProperties":
        allowed = error.schema.get("properties", {})
        unknown = (name for name in error.instance if name not in allowed and "patternProperties" not in error.schema)
        misnamed = (
            name
            for name in error.instance
            for pattern in error.schema.get("patternProperties", ())
            if not validator_of({"pattern": pattern}).is_valid(name)
        )
        yield from (pointer_to([*error.absolute_path, name]) for name in (*unknown, *misnamed))
    else:
        yield pointer_to(error.absolute_path)


def _closest_alternative(
    causes: list[jsonschema.exceptions.ValidationError],
) -> list[jsonschema.exceptions.ValidationError]:
    """Of the alternatives of an `anyOf` or `oneOf`, the errors of the one that the document was meant for."""
    alternatives: dict[Any, list[jsonschema.exceptions.ValidationError]] = {}
    for cause in causes:
        alternatives.setdefault(cause.schema_path[0], []).append(cause)
    meant = [errors for errors in alternatives.values() if not any(_is_another_kind(error) for error in errors)]
    return min(meant or alternatives.values(), key=len)


def _is_another_kind(error: jsonschema.exceptions.ValidationError) -> bool:
    return error.validator == "const" or (error.validator == "type" and not error.relative_path)
