"""The JSON Schemas (2020-12) of all messages and documents, made from their models."""

from collections.abc import Mapping
from typing import Any

from jsonschema import Draft202012Validator
from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core.core_schema import CoreSchema, DictSchema

from contracts.callback import Callback
from contracts.catalog import CatalogFile
from contracts.command import CancelCommand, Command
from contracts.event import launcher_event
from contracts.manifest import Manifest
from contracts.proposal import Proposal

SCHEMA_BASE = "urn:stratum:schema:v1:"
"""Every schema's `$id` begins with it; an incompatible change takes the next number."""

MODELS: Mapping[str, TypeAdapter[Any]] = {
    "callback": TypeAdapter(Callback),
    "cancel": TypeAdapter(CancelCommand),
    "catalog": TypeAdapter(CatalogFile),
    "command": TypeAdapter(Command),
    "event": launcher_event,
    "manifest": TypeAdapter(Manifest),
    "proposal": TypeAdapter(Proposal),
}
"""The model of each published schema, by the schema's name."""


class _Generator(GenerateJsonSchema):
    """Pydantic's generator without the titles that only repeat a field's name, and with closed dictionaries."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def dict_schema(self, schema: DictSchema) -> JsonSchemaValue:
        json_schema = super().dict_schema(schema)
        if "patternProperties" in json_schema:
            json_schema["additionalProperties"] = False
        return json_schema

    def generate(self, schema: CoreSchema, mode: Any = "validation") -> JsonSchemaValue:
        return {"$schema": Draft202012Validator.META_SCHEMA["$id"], **super().generate(schema, mode)}


def json_schema_of(name: str) -> dict[str, Any]:
    """The schema of the messages or documents called `name`, one of `MODELS`."""
    generated = MODELS[name].json_schema(schema_generator=_Generator)
    generated.pop("discriminator", None)  # OpenAPI's word, not JSON Schema's
    return {"$schema": generated.pop("$schema"), "$id": f"{SCHEMA_BASE}{name}", **generated}
