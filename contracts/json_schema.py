"""A validator of JSON Schema (2020-12) whose patterns mean what the standard says."""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend

_ESCAPE_CLASS_OR_END = re.compile(r"\\.|\[(?:\\.|[^\]\\])*\]|\$", re.DOTALL)


@lru_cache(maxsize=1024)
def _compile(pattern: str) -> re.Pattern[str]:
    """JSON Schema means ECMA 262, where `$` is the very end; Python's also stands before a last line feed."""
    return re.compile(_ESCAPE_CLASS_OR_END.sub(lambda part: r"\Z" if part[0] == "$" else part[0], pattern))


def _pattern(_: Validator, pattern: str, instance: Any, __: dict[str, Any]) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not _compile(pattern).search(instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


JsonSchemaValidator: type[Draft202012Validator] = extend(Draft202012Validator, {"pattern": _pattern})  # type: ignore[no-untyped-call]
"""As `jsonschema.Draft202012Validator`; `^[a-z]+$` refuses a trailing line feed."""
