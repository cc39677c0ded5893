"""JSON Schema (2020-12): a check of schemas, and a validator whose patterns mean what the standard says.

What it takes to judge a value grows with the value's size alone: callers of strangers' values depend on it.
"""

import json
import re
from collections.abc import Hashable, Iterator
from functools import lru_cache
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend
from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped]
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

_ESCAPE_CLASS_OR_END = re.compile(r"\\.|\[(?:\\.|[^\]\\])*\]|\$", re.DOTALL)


@lru_cache(maxsize=1024)
def _compile(pattern: str) -> re.Pattern[str]:
    """JSON Schema means ECMA 262, where `$` is the very end; Python's also stands before a last line feed."""
    return re.compile(_ESCAPE_CLASS_OR_END.sub(lambda part: r"\Z" if part[0] == "$" else part[0], pattern))


def _pattern(_: Validator, pattern: str, instance: Any, __: dict[str, Any]) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not _compile(pattern).search(instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _unique_items(_: Validator, unique: bool, instance: Any, __: dict[str, Any]) -> Iterator[ValidationError]:
    """The library compares each object with each other one."""
    if unique and isinstance(instance, list) and len({_key(item) for item in instance}) < len(instance):
        yield ValidationError("some of the elements are equal")


def _key(value: Any) -> Hashable:
    """Equal for values that are equal in JSON: `1` and `1.0` are, `1` and `true` are not."""
    if isinstance(value, dict):
        return dict, frozenset((name, _key(item)) for name, item in value.items())
    if isinstance(value, list):
        return list, tuple(_key(item) for item in value)
    return isinstance(value, bool), value


def _unless_too_many(keyword: str) -> Any:
    """The library's check of `keyword`, left out where the list is longer than it may be: that is an error of its own."""
    check: Any = Draft202012Validator.VALIDATORS[keyword]

    def bounded(validator: Validator, value: Any, instance: Any, schema: dict[str, Any]) -> Iterator[ValidationError]:
        if not isinstance(instance, list) or len(instance) <= schema.get("maxItems", len(instance)):
            yield from check(validator, value, instance, schema) or ()

    return bounded


_BOUNDED = {keyword: _unless_too_many(keyword) for keyword in ("items", "prefixItems", "contains")}
_Validator: type[Draft202012Validator] = extend(  # type: ignore[no-untyped-call]
    Draft202012Validator, {"pattern": _pattern, "uniqueItems": _unique_items, **_BOUNDED}
)


def validator_of(schema: dict[str, Any]) -> Draft202012Validator:
    """A validator whose `^[a-z]+$` refuses a trailing line feed, and which fetches nothing: only the standard's own schemas are known."""
    return _Validator(schema, registry=REGISTRY)


def check_schema(schema: dict[str, Any]) -> None:
    """Return quietly when `schema` is one, and every reference in it leads somewhere inside it.

    Raises:
        ValueError: it is not; the message says where and why.
    """
    try:
        text = json.dumps(schema)
    except TypeError as error:
        raise ValueError(f"it holds what JSON does not have: {error}") from error
    _check(text)


@lru_cache(maxsize=256)
def _check(text: str) -> None:
    """A catalog that is loaded again has few schemas that are new, and each costs milliseconds: the standard's own schema is large."""
    schema = json.loads(text)
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise ValueError(f"{error.json_path}: {error.message}") from error
    resolver = REGISTRY.resolver_with_root(DRAFT202012.create_resource(schema))
    for reference in _references(schema):
        try:
            resolver.lookup(reference)
        except Unresolvable as error:
            raise ValueError(f"the reference {reference!r} leads nowhere inside the schema") from error


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(reference := value.get("$ref"), str):
            yield reference
        for child in value.values():
            yield from _references(child)
    elif isinstance(value, list):
        for child in value:
            yield from _references(child)
