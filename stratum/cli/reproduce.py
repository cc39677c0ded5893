"""`reproduce`."""

import typer

from stratum.cli.errors import DIFFERENT
from stratum.cli.options import Dataset, Entity, Json, Timeout, Version
from stratum.cli.output import print_json, say, show_facts
from stratum.cli.process_view import live_progress
from stratum.cli.session import connect


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(reproduce)


def reproduce(entity: Entity, version: Version, dataset: Dataset, timeout: Timeout = None, json: Json = False) -> None:
    """Make a dataset once more, elsewhere and partitioned otherwise, and compare what is in both."""
    with connect() as client, live_progress() as on_change:
        result = client.reproduce(entity, version, dataset, timeout=timeout, on_change=on_change)
    if json:
        print_json(
            {
                "same": result.same,
                "expected": result.expected,
                "found": result.found,
                "same_revision": result.same_revision,
                "deterministic": result.deterministic,
                "data_version": result.data_version,
                "location": result.location,
                "process": result.process.model_dump(mode="json"),
            }
        )
    else:
        verdict = "The same rows, to the last bit." if result.same else "The two runs made different rows."
        say(verdict, "bold green" if result.same else "bold red")
        revision = None if result.same_revision else "the action has changed since; that may be why"
        promise = None if result.same or result.deterministic else "the action does not promise the same rows each time"
        show_facts(
            [
                ("first", f"{result.expected}  {entity}/{version}/{dataset}"),
                ("again", f"{result.found}  {entity}/{result.data_version}/{dataset}"),
                ("note", revision),
                ("note", promise),
                ("process", result.process.id),
                ("location", result.location),
            ]
        )
    raise typer.Exit(0 if result.same else DIFFERENT)
