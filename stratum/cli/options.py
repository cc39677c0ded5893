"""Arguments and options that several commands share."""

import json
from typing import Annotated, Any, NoReturn

import typer

from stratum.errors import Invalid


def _remember(context: typer.Context, value: bool) -> bool:
    context.find_root().obj = value  # so that errors are JSON too
    return value


Json = Annotated[bool, typer.Option("--json", help="Print one JSON document, and nothing else.", callback=_remember, is_eager=True)]
Entity = Annotated[str, typer.Argument(metavar="ENTITY", help="What the data is about, such as cust_8842.", show_default=False)]
Version = Annotated[str, typer.Argument(metavar="VERSION", help="A named snapshot of it, such as v2024.10.05.", show_default=False)]
Dataset = Annotated[str, typer.Argument(metavar="DATASET", help="A dataset in it, such as source.", show_default=False)]
ProcessId = Annotated[str, typer.Argument(metavar="ID", help="Id of a process.", show_default=False)]
Wait = Annotated[bool, typer.Option("--wait", "-w", help="Return when the process has ended.")]
Timeout = Annotated[float | None, typer.Option("--timeout", help="With --wait: give up waiting after so many seconds.", min=0)]


def pairs(option: str, texts: list[str]) -> dict[str, str]:
    """`key=value` texts as a dictionary.

    Raises:
        Invalid: a text is not of that form, or a key is there twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise Invalid(f"{option} {text!r} is not of the form key=value.")
        if key in found:
            raise Invalid(f"{option} names {key!r} twice.")
        found[key] = value
    return found


def json_or_text(text: str) -> Any:
    """What `text` says as JSON; the plain text if it is none."""
    try:
        return json.loads(text, parse_constant=_not_json)
    except (ValueError, RecursionError):
        return text


def _not_json(name: str) -> NoReturn:
    raise ValueError(name)
