"""`stratum`: the commands, and what becomes of their errors."""

from typing import Any

import typer
from typer.core import TyperGroup

from stratum.cli import (
    actions,
    data,
    history,
    ingest,
    keys,
    platform,
    preflight,
    processes,
    rebuild,
    reproduce,
    retire,
    run,
    tenants,
    version,
    webhooks,
)
from stratum.cli.errors import EXIT_CODES_HELP, report
from stratum.errors import StratumError

HELP = f"""\
Run an action on a version of an entity's data, and get back sealed Parquet.

\b
Examples:
  stratum up --detach                                   start a platform on this machine
  stratum ingest shop v1 orders.csv                     upload rows as shop/v1/source
  stratum run shop v1 filter -p condition='amount > 10' --wait
  stratum head shop v1 filter                           look at the result
  stratum demo                                          all of it, on 336,776 real flights

\b
{EXIT_CODES_HELP}
"""


class Commands(TyperGroup):
    """Reports expected errors in two lines instead of a traceback, and exits with the code of their kind."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that `ctx` names."""
        try:
            return super().invoke(ctx)
        except StratumError as error:
            raise typer.Exit(report(error, as_json=bool(ctx.obj))) from error


# Without rich's markup the help needs no rich: that is half of the start-up time.
app = typer.Typer(
    cls=Commands, help=HELP, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False
)
MODULES = (
    platform,
    preflight,
    ingest,
    run,
    processes,
    history,
    data,
    reproduce,
    retire,
    rebuild,
    actions,
    keys,
    tenants,
    webhooks,
    version,
)
for module in MODULES:
    module.register(app)
