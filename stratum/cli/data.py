"""`datasets` and `head`."""

from typing import TYPE_CHECKING, Annotated

import typer

from stratum.cli.options import Dataset, Entity, Json, Version
from stratum.cli.output import ago, plain_row, print_json, rows_table, say, show_table, size, table
from stratum.cli.session import connect
from stratum.errors import NotFound

if TYPE_CHECKING:
    from contracts.http import EntitySummary, VersionSummary


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(datasets)
    app.command()(head)


def datasets(
    entity: Annotated[str | None, typer.Argument(metavar="ENTITY", help="Left out: list the entities.", show_default=False)] = None,
    version: Annotated[str | None, typer.Argument(metavar="VERSION", help="Only this data version.", show_default=False)] = None,
    json: Json = False,
) -> None:
    """List what is sealed: of an entity, of one of its versions, or the entities."""
    with connect() as client:
        if entity is None:
            _show_entities(client.entities(), json=json)
            return
        versions = client.versions(entity)
    if version is not None:
        known = ", ".join(item.data_version for item in versions)
        versions = [item for item in versions if item.data_version == version]
        if not versions:
            raise NotFound(f"{entity} has no data version {version!r}.", f"There are: {known}")
    _show_versions(entity, versions, json=json)


def head(
    entity: Entity,
    version: Version,
    dataset: Dataset,
    rows: Annotated[int, typer.Option("-n", "--rows", help="How many rows.", min=1)] = 20,
    json: Json = False,
) -> None:
    """Print the first rows of a sealed dataset."""
    with connect() as client:
        sealed = client.dataset(entity, version, dataset)
        found = sealed.head(rows)
    if json:
        print_json([plain_row(row) for row in found])
        return
    columns = [column.name for column in sealed.manifest.columns]
    show_table(rows_table(found, columns))
    total = sealed.manifest.rows
    say(f"{len(found):,} of {total:,} rows, {size(sealed.manifest.bytes)} in {sealed.manifest.location}", "dim")


def _show_entities(entities: "list[EntitySummary]", *, json: bool) -> None:
    if json:
        print_json({"items": [entity.model_dump(mode="json") for entity in entities]})
        return
    if not entities:
        say("No data yet. Bring some: stratum ingest ENTITY VERSION FILE…")
        return
    shown = table("Entity", "Versions", "Datasets", "Updated", right=("Versions", "Datasets"))
    for e in entities:
        shown.add_row(e.entity_id, f"{e.versions:,}", f"{e.datasets:,}", ago(e.updated_at))
    show_table(shown)


def _show_versions(entity: str, versions: "list[VersionSummary]", *, json: bool) -> None:
    if json:
        print_json({"items": [version.model_dump(mode="json") for version in versions]})
        return
    shown = table("Version", "Dataset", "Rows", "Size", "Sealed", "Location", title=entity, right=("Rows", "Size"))
    for v in versions:
        for d in v.datasets:
            shown.add_row(v.data_version, d.dataset, f"{d.rows:,}", size(d.bytes), ago(d.created_at), d.location)
    show_table(shown)
