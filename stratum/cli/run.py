"""`run`."""

from typing import Annotated

import typer

from stratum.cli.options import Entity, Json, Timeout, Version, Wait, json_or_text, pairs
from stratum.cli.process_view import wait_and_show
from stratum.cli.session import connect


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(run)


def run(
    entity: Entity,
    version: Version,
    action: Annotated[str, typer.Argument(metavar="ACTION", help="What to run; see `stratum actions`.", show_default=False)],
    parameter: Annotated[list[str], typer.Option("-p", "--parameter", metavar="KEY=VALUE", help="JSON, or plain text.")] = [],  # noqa: B006
    input_dataset: Annotated[str | None, typer.Option(help="The dataset to read.", show_default="source")] = None,
    output_dataset: Annotated[str | None, typer.Option(help="Name of the result.", show_default="the action's name")] = None,
    output_version: Annotated[str | None, typer.Option(help="Data version of the result.", show_default="VERSION")] = None,
    priority: Annotated[int | None, typer.Option(help="Higher goes first.", min=-100, max=100)] = None,
    label: Annotated[list[str], typer.Option("--label", metavar="KEY=VALUE", help="Your own words on the process.")] = [],  # noqa: B006
    resource: Annotated[
        list[str], typer.Option("--resource", metavar="KEY=VALUE", help="Fix a size, such as shuffle_partitions=8 or driver_memory=2g.")
    ] = [],  # noqa: B006
    callback_url: Annotated[str | None, typer.Option(help="Told when the process has ended.")] = None,
    idempotency_key: Annotated[str | None, typer.Option(help="The same key and request: the same answer.")] = None,
    wait: Wait = False,
    timeout: Timeout = None,
    json: Json = False,
) -> None:
    """Run an action on a data version. The same work again gives the process that did it."""
    parameters = {key: json_or_text(value) for key, value in pairs("-p", parameter).items()}
    resources = {key: json_or_text(value) for key, value in pairs("--resource", resource).items()}
    with connect() as client:
        process = client.run(
            entity,
            version,
            action,
            parameters,
            input_dataset=input_dataset,
            output_dataset=output_dataset,
            output_data_version=output_version,
            priority=priority,
            labels=pairs("--label", label) or None,
            resource_profile=resources or None,
            callback_url=callback_url,
            idempotency_key=idempotency_key,
        )
        raise typer.Exit(wait_and_show(client, process, wait=wait, timeout=timeout, json=json))
