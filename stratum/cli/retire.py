"""`retire`."""

from typing import TYPE_CHECKING, Annotated

import typer

from stratum.cli.options import Dataset, Entity, Json, Version
from stratum.cli.output import print_model, say, size
from stratum.cli.session import connect
from stratum.errors import Conflict

if TYPE_CHECKING:
    from contracts.http import Retirement

_MOST_SHOWN = 20


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(retire)


def retire(
    entity: Entity,
    version: Version,
    dataset: Dataset,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept for ever, and shown to whoever asks for the dataset.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what depends on it.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: Json = False,
) -> None:
    """Take a dataset out of use, for good: its files are removed after a grace, its name is never free again. Needs the role admin."""
    with connect() as client:
        found = client.retire(entity, version, dataset, reason, dry_run=True)
        if not dry_run and found.retired_at is None:
            if found.active_readers:
                raise Conflict(
                    f"{entity}/{version}/{dataset} is read by {len(found.active_readers)} active processes.",
                    f"Wait for them, or cancel them: {', '.join(map(str, found.active_readers))}",
                )
            if not yes:
                _show(found, to_stderr=json)
                typer.confirm("Retire it? This cannot be undone.", abort=True, err=True)
            found = client.retire(entity, version, dataset, reason)
    if json:
        print_model(found)
    else:
        _show(found)


def _show(found: "Retirement", *, to_stderr: bool = False) -> None:
    lines = [f"{found.entity_id}/{found.data_version}/{found.dataset}: {size(found.bytes)} in {found.location}"]
    if found.retired_at is not None:
        lines.append(f"retired on {found.retired_at:%Y-%m-%d %H:%M} by {found.retired_by}: {found.reason}")
        if found.files_removed_at is not None:
            lines.append(f"its files were removed on {found.files_removed_at:%Y-%m-%d %H:%M}")
        elif found.files_go_at is not None:
            lines.append(f"its files are removed after {found.files_go_at:%Y-%m-%d %H:%M}")
    lines += [f"read now by process {reader}" for reader in found.active_readers[:_MOST_SHOWN]]
    lines += [f"made from it: {each.data_version}/{each.dataset}" for each in found.made_from_it[:_MOST_SHOWN]]
    if len(found.made_from_it) > _MOST_SHOWN:
        lines.append(f"and {len(found.made_from_it) - _MOST_SHOWN:,} more made from it: --dry-run --json lists them")
    for line in lines:
        if to_stderr:
            typer.echo(line, err=True)
        else:
            say(line)
