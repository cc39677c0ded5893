"""The AsyncAPI document: sound by itself, and true to the topics and schemas."""

import json
import re
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from contracts.topics import Topics
from tests.contracts.verdicts import CONTRACTS

with warnings.catch_warnings():
    warnings.simplefilter("ignore", UserWarning)  # its models have fields named `schema`
    from asyncapi3.models.asyncapi import AsyncAPI3

DOCUMENT: dict[str, Any] = json.loads((CONTRACTS / "asyncapi.json").read_text(encoding="utf-8"))


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for child in value.values():
            yield from _references(child)
    elif isinstance(value, list):
        for child in value:
            yield from _references(child)


def _resolve(reference: str) -> Any:
    file, _, pointer = reference.partition("#")
    at = json.loads((CONTRACTS / file).read_text(encoding="utf-8")) if file else DOCUMENT
    for part in filter(None, pointer.split("/")):
        at = at[part.replace("~1", "/").replace("~0", "~")]
    return at


def test_is_an_asyncapi_3_document() -> None:
    AsyncAPI3.model_validate(DOCUMENT)


@pytest.mark.parametrize("reference", sorted(set(_references(DOCUMENT))))
def test_every_reference_leads_somewhere(reference: str) -> None:
    assert isinstance(_resolve(reference), dict)


def test_the_channels_are_the_topics() -> None:
    channels = DOCUMENT["channels"].values()
    assert {channel["address"] for channel in channels} == set(Topics("{prefix}").all)
    assert all(set(re.findall(r"{(\w+)}", channel["address"])) == set(channel["parameters"]) for channel in channels)


def test_every_channel_is_written_and_every_live_one_read() -> None:
    sides = {(operation["action"], operation["channel"]["$ref"].rpartition("/")[2]) for operation in DOCUMENT["operations"].values()}
    assert sides == {("send", name) for name in DOCUMENT["channels"]} | {
        ("receive", name) for name in DOCUMENT["channels"] if not name.endswith("DeadLetters")
    }


def test_every_event_of_the_schema_is_a_message_of_the_topic() -> None:
    events = _resolve("schemas/event.json")["oneOf"]
    assert {event["$ref"].rpartition("/")[2] for event in events} == set(DOCUMENT["channels"]["events"]["messages"])
