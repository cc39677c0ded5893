"""`keys list`, `keys create`, `keys rotate`, `keys revoke`."""

import re
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from stratum.cli.options import Json
from stratum.cli.output import ago, print_json, print_model, say, show_facts, show_table, table
from stratum.cli.session import connect
from stratum.errors import Invalid

if TYPE_CHECKING:
    from contracts.api_keys import IssuedKey

_UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86_400}
KeyId = Annotated[str, typer.Argument(metavar="ID", help="Id of a key; see `stratum keys list`.", show_default=False)]
ExpiresIn = Annotated[str | None, typer.Option("--expires-in", metavar="TIME", help="Such as 12h or 90d.")]

commands = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Manage the tenant's API keys; for admins.")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(commands, name="keys")


@commands.command("list")
def list_(
    every: Annotated[bool, typer.Option("--all", help="Those that are expired or revoked too.")] = False,
    json: Json = False,
) -> None:
    """List the keys, newest first: whose they are and when they were last used, never the keys themselves."""
    with connect() as client:
        keys = [key for key in client.api_keys() if every or key.state == "active"]
    if json:
        print_json({"items": [key.model_dump(mode="json") for key in keys]})
        return
    shown = table("Key", "Name", "Role", "Begins", "State", "Created", "Last used", "Expires")
    for key in keys:
        used = ago(key.last_used_at) if key.last_used_at else "never"
        shown.add_row(str(key.id), key.name, key.role, key.prefix, key.state, ago(key.created_at), used, _until(key.expires_at))
    show_table(shown)


@commands.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Your words for who uses it.", show_default=False)],
    role: Annotated[Literal["viewer", "operator", "admin"], typer.Option(help="What it may do.", show_default=False)],
    expires_in: ExpiresIn = None,
    json: Json = False,
) -> None:
    """Make a key. It is shown once."""
    life = _seconds("--expires-in", expires_in) if expires_in is not None else None
    with connect() as client:
        _show_issued(client.create_key(name, role, expires_in_seconds=life), json=json)


@commands.command()
def rotate(
    key_id: KeyId,
    grace: Annotated[str, typer.Option(metavar="TIME", help="For how long the old key stays good; 0s: it ends at once.")] = "1d",
    expires_in: ExpiresIn = None,
    json: Json = False,
) -> None:
    """Replace a key by a new one of the same name and role. The new one is shown once."""
    life = _seconds("--expires-in", expires_in) if expires_in is not None else None
    with connect() as client:
        issued = client.rotate_key(key_id, grace_seconds=_seconds("--grace", grace), expires_in_seconds=life)
    _show_issued(issued, json=json)


@commands.command()
def revoke(key_id: KeyId, json: Json = False) -> None:
    """End a key at once."""
    with connect() as client:
        key = client.revoke_key(key_id)
    if json:
        print_model(key)
        return
    say(f"{key.name} ({key.prefix}…) is revoked.")


def _show_issued(issued: "IssuedKey", *, json: bool) -> None:
    if json:
        print_model(issued)
        return
    show_facts([("id", issued.id), ("name", issued.name), ("role", issued.role), ("expires", _until(issued.expires_at))])
    say(issued.key, "bold")
    say("Keep it now: it is shown this once.", "dim")


def _until(moment: datetime | None) -> str:
    return moment.strftime("%Y-%m-%d %H:%M") if moment else "never"


def _seconds(option: str, text: str) -> int:
    found = re.fullmatch(r"(\d{1,6})(s|min|h|d)", text)
    if found is None:
        raise Invalid(f"{option} {text!r} is not a time such as 30min, 12h or 90d.")
    return int(found[1]) * _UNITS[found[2]]
