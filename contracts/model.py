"""The base of every document and message."""

import hashlib
import json
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import (
    AfterValidator,
    AnyHttpUrl,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StringConstraints,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema
from pydantic_core.core_schema import no_info_before_validator_function

_MOST_UNKNOWN = 20


class Contract(BaseModel):
    """Immutable; unknown fields are refused, so that a typo never passes for a setting.

    Very many unknown fields are one error: to tell each would cost far more than to send them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings")

    @model_validator(mode="before")
    @classmethod
    def _has_few_unknown_fields(cls, value: Any) -> Any:
        known = cls.__pydantic_fields__
        if isinstance(value, dict) and len(value) > len(known) + _MOST_UNKNOWN and cls.model_config["extra"] == "forbid":
            raise ValueError(
                f"has {len(value)} fields, and may have only {', '.join(field.alias or name for name, field in known.items())}"
            )
        return value


class Tolerant(Contract):
    """A message read by a part that may be older than its writer during an upgrade: unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)


def at_most(most: int) -> BeforeValidator:
    """Of a list or an object: its length is judged before what is in it."""

    def check(value: Any) -> Any:
        if isinstance(value, list | dict) and len(value) > most:
            raise ValueError(f"may hold at most {most}, and holds {len(value)}")
        return value

    return BeforeValidator(check)


def _one_by_one(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    if not isinstance(value, dict):
        return handler(value)
    return {name: read for key, item in value.items() for name, read in handler({key: item}).items()}


FIRST_WRONG_ENDS_IT = WrapValidator(_one_by_one)
"""Of an object whose fields have names of their own: what `fail_fast` is to a list."""


@dataclass(frozen=True, slots=True)
class WrittenAs:
    """The one form in which a value may be written as text, the same for the model and for the JSON Schema made from it.

    Without it pydantic reads more than the schema allows: a UUID in braces, a time given as a number of seconds.
    """

    pattern: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Check the form before the value is read."""
        return no_info_before_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Add the form to the schema."""
        return {**handler(schema), "pattern": self.pattern}

    def _check(self, value: Any) -> Any:
        if isinstance(value, bool | int | float | bytes) or (isinstance(value, str) and not re.fullmatch(self.pattern, value)):
            raise ValueError(f"must be a text of the form {self.pattern}")
        return value


_HOUR_AND_MINUTE = "([01][0-9]|2[0-3]):[0-5][0-9]"
TIMESTAMP_PATTERN = (
    r"^[1-9][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
    rf"T{_HOUR_AND_MINUTE}:[0-5][0-9](\.[0-9]{{1,9}})?(Z|[+-]{_HOUR_AND_MINUTE})$"
)
UUID_PATTERN = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"

Timestamp = Annotated[AwareDatetime, WrittenAs(TIMESTAMP_PATTERN), Field(examples=["2024-10-05T12:00:00Z"])]
"""A moment, as RFC 3339 writes it: with its offset from UTC."""
Text = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$")]
"""Text for machines. NUL is refused: no database keeps it."""


def _readable(value: Any) -> Any:
    return value.replace("\x00", "\ufffd").encode(errors="replace").decode() if isinstance(value, str) else value


Words = Annotated[str, BeforeValidator(_readable)]
"""Text for people, which may quote anything; what cannot be kept of it is replaced, so that a message is never lost for its wording."""
Uuid = Annotated[UUID, WrittenAs(UUID_PATTERN)]
HttpAddress = Annotated[AnyHttpUrl, WrittenAs(r"^https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?([/?][!-~]*)?$")]
Count = Annotated[int, Field(strict=True, ge=0, le=2**63 - 1)]
"""How many of something; fits a database's bigint."""
Ordinal = Annotated[int, Field(strict=True, ge=1, le=2**31 - 1)]
"""The how-manieth, from 1; fits a database's integer."""


def _is_no_truth_value(value: Any) -> Any:
    if isinstance(value, bool):  # Python takes True for 1
        raise ValueError("must be a number")  # noqa: TRY004  # pydantic listens to ValueError
    return value


ContractVersion = Annotated[Literal[1], BeforeValidator(_is_no_truth_value)]
"""Version of the storage contract; a reader refuses one that it does not know."""


_MOST_NESTED = 64
_MOST_BYTES = 256 * 1024
_LARGEST = 1e38
"""No column holds more; and a database gives back 1e38 and what is larger with all its digits, as another kind of number."""


def _check_storable(value: Any, depth: int = 0) -> int:
    """Refuse what cannot be stored; returns how many bytes it has as JSON at the least."""
    if depth > _MOST_NESTED:
        raise ValueError(f"must be nested at most {_MOST_NESTED} levels deep")
    match value:
        case str():
            if "\x00" in value or any("\ud800" <= character <= "\udfff" for character in value):
                raise ValueError("must hold neither NUL characters nor half surrogate pairs")
            return len(value)
        case int() | float() if not -_LARGEST < value < _LARGEST:  # neither is NaN
            raise ValueError(f"must hold only numbers between -{_LARGEST:g} and {_LARGEST:g}")
        case dict():
            return sum(_check_storable(key, depth) + _check_storable(child, depth + 1) + 1 for key, child in value.items())
        case list():
            return sum(_check_storable(child, depth + 1) + 1 for child in value)
    return 1


def _digits_more(value: Any) -> int:
    """By how much numbers grow on their way through a database, which writes them without exponents: 1e-300 takes 302 characters."""
    match value:
        case float():
            return max(len(format(Decimal(repr(value)), "f")) - len(repr(value)), 0)
        case dict():
            return sum(map(_digits_more, value.values()))
        case list():
            return sum(map(_digits_more, value))
    return 0


def _storable(value: dict[str, Any]) -> dict[str, Any]:
    if _check_storable(value) > _MOST_BYTES or len(canonical_json(value)) + _digits_more(value) > _MOST_BYTES:
        raise ValueError(f"must have at most {_MOST_BYTES} bytes as JSON: it goes into a message")
    return value


StorableObject = Annotated[dict[str, Any], AfterValidator(_storable)]
"""A JSON object that every part can store and hash: what Python reads as JSON is more than JSON, and more than a database takes."""


def canonical_json(value: Any) -> bytes:
    """UTF-8 JSON with sorted keys and no blanks: the same value gives the same bytes, so it can be hashed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def sha256_of(value: Any) -> str:
    """`sha256:<hex>` of the canonical JSON of `value`."""
    return f"sha256:{hashlib.sha256(canonical_json(value)).hexdigest()}"
