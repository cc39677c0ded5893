"""`actions`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from stratum.cli.options import Json
from stratum.cli.output import print_json, say, say_titled, show_table, table
from stratum.cli.session import connect
from stratum.errors import NotFound

if TYPE_CHECKING:
    from contracts.http import ActionDescription


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(actions)


def actions(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Only this one, with its parameters.", show_default=False)] = None,
    json: Json = False,
) -> None:
    """List what can be run."""
    with connect() as client:
        found = client.actions()
    if name is not None:
        known = ", ".join(action.name for action in found)
        found = [action for action in found if action.name == name]
        if not found:
            raise NotFound(f"There is no action {name!r}.", f"There are: {known}")
    if json:
        print_json({"items": [action.model_dump(mode="json") for action in found]})
    elif name is None:
        shown = table("Action", "What it does", "Parameters", fold=("What it does", "Parameters"))
        for action in found:
            shown.add_row(action.name, action.description, ", ".join(_parameter_names(action)))
        show_table(shown)
        say("The parameters of one: stratum actions NAME", "dim")
    else:
        _show_one(found[0])


def _parameter_names(action: "ActionDescription") -> list[str]:
    needed = action.parameters.get("required", [])
    return [name if name in needed else f"[{name}]" for name in action.parameters.get("properties", {})]


def _show_one(action: "ActionDescription") -> None:
    say_titled(action.name, action.description)
    shown = table("Parameter", "Type", "Needed", "Meaning", fold=("Type", "Meaning"))
    for name, schema in action.parameters.get("properties", {}).items():
        needed = "yes" if name in action.parameters.get("required", []) else ""
        shown.add_row(name, _type(schema), needed, schema.get("description", ""))
    show_table(shown)
    for example in action.examples:
        options = " ".join(f"-p {_shell(f'{key}={_text(value)}')}" for key, value in example.items())
        say(f"stratum run ENTITY VERSION {action.name} {options}", "dim")


def _type(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "oneOf" in schema:
        return " | ".join(_type(choice) for choice in schema["oneOf"])
    kind = schema.get("type", "")
    return " | ".join(kind) if isinstance(kind, list) else str(kind)


def _text(value: Any) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value)


def _shell(text: str) -> str:
    import shlex

    return shlex.quote(text)
