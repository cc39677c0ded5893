"""`events` and `logs`."""

import sys
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stratum.cli.options import Json, ProcessId
from stratum.cli.output import print_json, show_table, state_text, table
from stratum.cli.session import connect

if TYPE_CHECKING:
    from contracts.http import ProcessEvent


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(events)
    app.command()(logs)


def events(process_id: ProcessId, json: Json = False) -> None:
    """Show the whole history of a process."""
    with connect() as client:
        found = client.events(process_id)
    if json:
        print_json({"items": [event.model_dump(mode="json") for event in found]})
        return
    show_table(_timeline(found))


def logs(
    process_id: ProcessId,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until all of it is there, then tell how the process ended.")
    ] = False,
    json: Json = False,
) -> None:
    """Print what the driver of a process wrote, all attempts."""
    with connect() as client:
        pieces = client.logs(process_id, follow=follow)
        if json:
            print_json({"text": "".join(pieces)})
            return
        for piece in pieces:
            sys.stdout.write(piece)
            sys.stdout.flush()
        if follow:
            process = client.get(process_id)
            sys.stderr.write(f"{process.state}: {process.reason}\n" if process.reason else f"{process.state}\n")


def _timeline(found: "list[ProcessEvent]") -> Any:
    from rich.text import Text

    shown = table("#", "At", "After", "Try", "Event", "What happened", right=("#", "After", "Try"), fold=("What happened",))
    before: list[datetime | None] = [None, *(event.at for event in found)]
    for event, (earlier, at) in zip(found, pairwise(before), strict=True):
        after = f"+{(at - earlier).total_seconds():.1f} s" if at and earlier else ""
        clock = event.at.astimezone().strftime("%H:%M:%S.%f")[:-3]
        attempt = event.data.get("attempt")
        shown.add_row(str(event.sequence), clock, after, str(attempt or ""), state_text(event.type), Text(_words(event.data)))
    return shown


def _words(data: dict[str, Any]) -> str:
    """The reason first, then the facts; hashes are cut short."""
    facts = [f"{name}={_short(value)}" for name, value in data.items() if name not in ("reason", "attempt") and value is not None]
    return "  ".join([*filter(None, [data.get("reason")]), *facts])


def _short(value: Any) -> str:
    text = str(value)
    return f"{text[:15]}…" if text.startswith("sha256:") else text
