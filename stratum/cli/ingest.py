"""`ingest`."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stratum.cli.options import Entity, Json, Version
from stratum.cli.output import print_model, progress_console, say, show_facts, size
from stratum.cli.session import connect

if TYPE_CHECKING:
    from contracts.http import Dataset
    from stratum.client.upload import Progress

_PHASES = {"convert": "Converting", "hash": "Hashing", "upload": "Uploading"}


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(ingest)


def ingest(
    entity: Entity,
    version: Version,
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE", help="CSV, TSV, NDJSON (also .gz) or Parquet; all with the same columns.", show_default=False),
    ],
    dataset: Annotated[str, typer.Option(help="Name of the new dataset.")] = "source",
    null: Annotated[list[str], typer.Option("--null", metavar="TEXT", help="Text that means null, such as NA; may be repeated.")] = [],  # noqa: B006
    schema: Annotated[str | None, typer.Option(metavar="NAME:TYPE,…", help="Types that shall not be found from the values.")] = None,
    delimiter: Annotated[str | None, typer.Option(help="Between the fields of CSV files.", show_default="a comma")] = None,
    json: Json = False,
) -> None:
    """Upload files as a new dataset and seal it. Text becomes typed Parquet; all or nothing."""
    with ended_by_sigterm(), connect(aloud=not json) as client, transfer_progress() as progress:
        manifest = client.ingest(entity, version, files, dataset, null=null, schema=schema, delimiter=delimiter, progress=progress)
    show_manifest(manifest, json=json)


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does, so that what was made for the while of it is removed."""

    def end(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def show_manifest(manifest: "Dataset", *, json: bool) -> None:
    """What was sealed."""
    if json:
        print_model(manifest, exclude={"urls"})
        return
    name = f"{manifest.entity_id}/{manifest.data_version}/{manifest.dataset}"
    columns = ", ".join(f"{column.name} {column.type}" for column in manifest.columns)
    say(f"Sealed {name}", "bold green")
    show_facts(
        [
            ("rows", f"{manifest.rows:,}"),
            ("size", f"{size(manifest.bytes)} in {len(manifest.files)} file{'s' * (len(manifest.files) != 1)}"),
            ("columns", columns),
            ("location", manifest.location),
            ("manifest", manifest.manifest),
        ]
    )


@contextmanager
def transfer_progress() -> Iterator["Progress"]:
    """A bar on the terminal for each phase of an ingest, while the context lasts."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description:<10}"), BarColumn(), DownloadColumn(binary_units=True), TimeElapsedColumn())
    with Progress(*columns, console=progress_console(), transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def on_progress(phase: str, done: int, total: int) -> None:
            if phase not in tasks:
                tasks[phase] = bars.add_task(_PHASES[phase], total=total)
            bars.update(tasks[phase], completed=done)

        yield on_progress
