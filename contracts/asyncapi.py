"""The AsyncAPI 3.0 document of the Kafka topics."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from contracts.documents import json_schema_of
from contracts.event import CommandRefused, JobEnded, JobPending, JobSubmitted, Relist
from contracts.topics import CUT_HEADER, OFFSET_HEADER, PARTITION_HEADER, REASON_HEADER, TOPIC_HEADER, Topics

_TOPICS = Topics(prefix="{prefix}")
_KEYED_BY_PROCESS = {"type": "string", "format": "uuid", "description": "The process id: all messages of a process stay in order."}
_KEYED_BY_CLUSTER = {"type": "string", "description": "The name of the cluster: a list is of no single process."}

_TRACED = {
    "type": "object",
    "properties": {"traceparent": {"type": "string", "description": "W3C trace context of the request, when it had one."}},
}


@dataclass(frozen=True, slots=True)
class _Message:
    """A kind of message. `schema` is a reference to what its value looks like."""

    name: str
    schema: str
    summary: str
    key: Mapping[str, str]
    headers: Mapping[str, Any] | None = None

    def document(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "title": self.name,
            "summary": self.summary,
            "contentType": "application/json",
            "payload": {"schemaFormat": "application/schema+json;version=draft-2020-12", "schema": {"$ref": self.schema}},
            **({"headers": dict(self.headers)} if self.headers else {}),
            "bindings": {"kafka": {"key": dict(self.key), "bindingVersion": "0.5.0"}},
        }


@dataclass(frozen=True, slots=True)
class _Channel:
    """A topic: who writes it, who reads it, and what lies in it."""

    name: str
    topic: str
    description: str
    sender: str
    receiver: str
    messages: tuple[_Message, ...]


def _message_of(name: str) -> _Message:
    schema = json_schema_of(name)
    return _Message(schema["title"], f"schemas/{name}.json", schema["description"], _KEYED_BY_PROCESS, _TRACED)


def _event_of(model: type, key: Mapping[str, str] = _KEYED_BY_PROCESS) -> _Message:
    definition = json_schema_of("event")["$defs"][model.__name__]
    return _Message(model.__name__, f"schemas/event.json#/$defs/{model.__name__}", definition["description"], key)


def _channels() -> tuple[_Channel, ...]:
    events = tuple(_event_of(model) for model in (JobSubmitted, JobPending, JobEnded, CommandRefused))
    return (
        _Channel(
            "commands",
            _TOPICS.commands,
            "Attempts to run. Admission caps what is in flight before it gets here, so the topic stays nearly empty.",
            "relay",
            "launcher",
            (_message_of("command"),),
        ),
        _Channel(
            "cancels",
            _TOPICS.cancels,
            "Attempts to end. A topic of their own, so that they never wait behind submits.",
            "relay",
            "launcher",
            (_message_of("cancel"),),
        ),
        _Channel(
            "events",
            _TOPICS.events,
            "What the launcher did and saw. The same event may arrive twice; `event_id` tells.",
            "launcher",
            "reconcile",
            (*events, _event_of(Relist, _KEYED_BY_CLUSTER)),
        ),
    )


def asyncapi_document() -> dict[str, Any]:
    """The document; its payloads refer to `schemas/*.json` beside it."""
    channels = _channels()
    return {
        "asyncapi": "3.0.0",
        "id": "urn:stratum:messages:v1",
        "info": {
            "title": "Stratum messages",
            "version": "1.0.0",
            "description": "The topics between the control plane and the launcher. Delivery is at least once, with `acks=all`; "
            "readers store their offsets after the effect, and an effect that was had already changes nothing.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {
            **{channel.name: _live_channel(channel) for channel in channels},
            **{_dead(channel.name): _dead_channel(channel) for channel in channels},
        },
        "operations": {name: operation for channel in channels for name, operation in _operations(channel).items()},
        "components": {
            "messages": {message.name: message.document() for channel in channels for message in channel.messages}
            | {"DeadLetter": _dead_letter()},
            "parameters": {"prefix": {"default": Topics().prefix, "description": "Lets several installations share a broker."}},
        },
    }


def _live_channel(channel: _Channel) -> dict[str, Any]:
    return _channel_document(
        channel.topic, f"{channel.name.capitalize()}", channel.description, [message.name for message in channel.messages]
    )


def _dead_channel(channel: _Channel) -> dict[str, Any]:
    return _channel_document(
        Topics.dlq(channel.topic),
        f"Dead letters of {channel.name}",
        f"Records of `{channel.topic}` that could not be read, or were forged. Nothing reads them but people.",
        ["DeadLetter"],
    )


def _channel_document(address: str, title: str, description: str, messages: list[str]) -> dict[str, Any]:
    return {
        "address": address,
        "title": title,
        "description": description,
        "parameters": {"prefix": {"$ref": "#/components/parameters/prefix"}},
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
    }


def _operations(channel: _Channel) -> dict[str, Any]:
    """Who sends and who receives: the document tells of all parts at once, so operations bear their part's name."""
    title = channel.name.capitalize()
    return {
        f"{channel.sender}Sends{title}": _operation("send", channel.name, f"The {channel.sender} writes {channel.name}."),
        f"{channel.receiver}Receives{title}": _operation("receive", channel.name, f"The {channel.receiver} reads {channel.name}."),
        f"{channel.receiver}SendsDeadLettersOf{title}": _operation(
            "send", _dead(channel.name), f"The {channel.receiver} sets aside what it cannot read of {channel.name}."
        ),
    }


def _operation(action: str, channel: str, summary: str) -> dict[str, Any]:
    return {"action": action, "channel": {"$ref": f"#/channels/{channel}"}, "summary": summary}


def _dead(channel: str) -> str:
    return f"{channel}DeadLetters"


def _dead_letter() -> dict[str, Any]:
    text = {"type": "string"}
    return {
        "name": "DeadLetter",
        "title": "DeadLetter",
        "summary": "A record as it came, its value cut if it is very long, and why it could not be taken.",
        "contentType": "application/octet-stream",
        "headers": {
            "type": "object",
            "required": [REASON_HEADER, TOPIC_HEADER, PARTITION_HEADER, OFFSET_HEADER],
            "properties": {
                REASON_HEADER: {**text, "description": "Why, in plain words."},
                TOPIC_HEADER: {**text, "description": "The topic it was read from."},
                PARTITION_HEADER: {**text, "pattern": "^[0-9]+$", "description": "Its partition there."},
                OFFSET_HEADER: {**text, "pattern": "^[0-9]+$", "description": "Its offset there."},
                CUT_HEADER: {**text, "pattern": "^[0-9]+$", "description": "Length of a value that was cut, in bytes."},
            },
        },
        "payload": {"description": "Any bytes: what made it a dead letter may be that it is no JSON."},
    }
