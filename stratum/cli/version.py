"""`version`."""

import typer

from stratum.cli.options import Json
from stratum.cli.output import print_json


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(version)


def version(json: Json = False) -> None:
    """Print the version of this program."""
    from importlib.metadata import version as installed

    if json:
        print_json({"version": installed("stratum")})
    else:
        typer.echo(installed("stratum"))
