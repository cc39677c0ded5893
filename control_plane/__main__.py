"""`python -m control_plane`: the roles, and the commands that prepare an installation."""

# Each command imports what it alone needs: a role, at each restart, pays for no other.

import asyncio
import logging
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import timedelta
from json import dumps
from pathlib import Path
from typing import Annotated, TextIO, cast

import structlog
import typer
from pydantic import ValidationError
from pydantic_settings import BaseSettings

from contracts.errors import ContractError
from contracts.log_stream import WhileItLasts
from contracts.pulse import Pulse
from contracts.pulse import serve as serve_pulse
from control_plane import signing_keys, tenants
from control_plane.database import Database
from control_plane.errors import ControlPlaneError, Unavailable
from control_plane.need import Need
from control_plane.settings import (
    ApiSettings,
    DatabaseSettings,
    KafkaSettings,
    LeftoverSettings,
    ReconcileSettings,
    RelaySettings,
    StorageSettings,
    TopicSettings,
    WatchSettings,
    WebhookSettings,
)

_Limit = Annotated[str | None, typer.Option(help="A number, or `none`.", metavar="N|none")]
cli = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False, help=__doc__)
cli.add_typer(signing_keys.commands, name="signing-keys")


@cli.command()
def api() -> None:
    """Serve the HTTP API."""
    from control_plane.api.app import create_app
    from control_plane.api.server import serve

    settings = ApiSettings()
    asyncio.run(_check_schema(settings))
    serve(create_app(settings), settings)


@cli.command()
def relay() -> None:
    """Admit processes and publish their commands."""
    from control_plane.relay import run

    settings = RelaySettings()
    pulse = _watched(settings)
    asyncio.run(_until_stopped(lambda stop: run(settings, stop, pulse)))


@cli.command()
def reconcile() -> None:
    """Follow events, enforce deadlines, seal and sweep."""
    from control_plane.reconcile import run

    settings = ReconcileSettings()
    pulse = _watched(settings)
    asyncio.run(_until_stopped(lambda stop: run(settings, stop, pulse)))


@cli.command()
def webhooks() -> None:
    """Deliver final states to the callers' URLs."""
    from control_plane.webhooks.role import run

    settings = WebhookSettings()
    pulse = _watched(settings)
    asyncio.run(_until_stopped(lambda stop: run(settings, stop, pulse)))


@cli.command()
def migrate() -> None:
    """Bring the database to this version's schema."""
    from control_plane.migration import migrate as bring_up

    typer.echo(f"schema {asyncio.run(bring_up(DatabaseSettings().database_url))}")


@cli.command()
def topics() -> None:
    """Create the Kafka topics that are missing."""
    from control_plane.broker import create_topics

    settings = TopicSettings()
    created = create_topics(settings, settings.topics)
    typer.echo(f"created: {', '.join(created)}" if created else "all topics exist")


@cli.command()
def wait(
    needs: Annotated[list[Need], typer.Argument(help="What must be there.")],
    seconds: Annotated[float, typer.Option(help="For how long, each.")] = 300,
) -> None:
    """Wait until database, schema, broker or object store can be used."""
    from control_plane.waiting import wait_for

    for need in needs:
        asyncio.run(wait_for(need, seconds))
    typer.echo(f"there: {', '.join(needs)}")


@cli.command()
def provision(
    tenant: Annotated[str, typer.Option(help="Name of the tenant.")],
    bucket: Annotated[str, typer.Option(help="Its bucket; created if missing.")],
    api_key_file: Annotated[Path, typer.Option(help="File that holds the API key.")],
    prefix: Annotated[str, typer.Option(help="Its key prefix, ending with '/', or empty.")] = "",
    role: Annotated[str, typer.Option(help="viewer, operator or admin.")] = "admin",
    max_in_flight: Annotated[int, typer.Option(help="Processes of the tenant in flight at once.")] = 1000,
    max_held: _Limit = None,
    max_executor_cores: _Limit = None,
    max_stored_bytes: _Limit = None,
) -> None:
    """Create a tenant, its bucket and an API key, unless they exist.

    A limit is a number, or `none` to take it away; one that is not given stays as it is.
    """
    from control_plane.storage import Storage

    tenants.check_names(tenant, bucket, prefix)  # before a bucket is made
    limits = _limits({"max_held": max_held, "max_executor_cores": max_executor_cores, "max_stored_bytes": max_stored_bytes})
    key = api_key_file.read_text(encoding="utf-8").strip()
    Storage(StorageSettings()).ensure_bucket(bucket)
    asyncio.run(tenants.provision(DatabaseSettings(), tenant, bucket, prefix, max_in_flight, key, role, limits))
    typer.echo(f"tenant {tenant} in s3://{bucket}/{prefix}")


@cli.command()
def check_tenant(
    tenant: Annotated[str, typer.Option(help="Name of the tenant.")],
    bucket: Annotated[str, typer.Option(help="Its bucket.")],
    prefix: Annotated[str, typer.Option(help="Its key prefix, ending with '/', or empty.")] = "",
) -> None:
    """Say whether `provision` would take this storage for this tenant. Nothing is made."""
    asyncio.run(tenants.judge_storage(DatabaseSettings(), tenant, bucket, prefix))
    typer.echo(f"s3://{bucket}/{prefix} can be, or is, the storage of tenant {tenant}")


@cli.command()
def close_tenant(
    tenant: Annotated[str, typer.Option(help="Name of the tenant.")],
    force: Annotated[bool, typer.Option("--force", help="Although processes have not ended.")] = False,
) -> None:
    """End all API keys of a tenant. Data and running work stay; exit code 4 while processes have not ended."""
    done = asyncio.run(tenants.close(DatabaseSettings(), tenant, force=force))
    typer.echo(dumps(asdict(done)))
    if done.keys_ended is None:
        raise typer.Exit(4)


def _limits(asked: dict[tenants.Limit, str | None]) -> dict[tenants.Limit, int | None]:
    try:
        return {name: tenants.limit(text) for name, text in asked.items() if text is not None}
    except ValueError as error:
        raise ControlPlaneError(f"a limit is wrong: {error}") from error


@cli.command()
def leftovers(
    remove: Annotated[bool, typer.Option("--remove", help="Remove what policy lets go; else only report.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Report what is left over in the store and the database, and why it stays."""
    from control_plane.sweeper import command

    tally = asyncio.run(command.run(LeftoverSettings(), remove=remove))
    typer.echo(dumps(tally.document()) if json else "\n".join(command.lines(tally)))


@cli.command()
def rebuild(
    tenant: Annotated[str | None, typer.Option(help="Only this tenant.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only report.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Restore the registry of datasets from the manifests in the store; exit code 3 when something is to be looked at."""
    from control_plane.rebuild.rebuild import rebuild as rebuild_registry

    report = asyncio.run(rebuild_registry(LeftoverSettings(), tenant, dry_run=dry_run))
    typer.echo(dumps(report.document()) if json else "\n".join(report.lines(dry_run=dry_run)))
    if report.conflicts:
        raise typer.Exit(3)


@cli.command()
def retention(
    reason: Annotated[str, typer.Option(help="Why, for the commands.")],
    tenant: Annotated[str | None, typer.Option(help="Only this tenant.")] = None,
    keep_last: Annotated[int | None, typer.Option(min=1, help="Keep so many newest of each dataset of an entity.")] = None,
    older_than_days: Annotated[float | None, typer.Option(min=0, help="Only those that were sealed longer ago.")] = None,
) -> None:
    """Print the commands that would retire what a policy lets go. Nothing is retired."""
    from control_plane.retirement import policy

    if keep_last is None and older_than_days is None:
        raise typer.BadParameter("name a policy: --keep-last, --older-than-days, or both")
    older_than = timedelta(days=older_than_days) if older_than_days is not None else None
    for row in asyncio.run(policy.candidates(DatabaseSettings(), tenant, keep_last, older_than)):
        typer.echo(f"{policy.command(row, reason)}  # {row['tenant']}, {row['bytes']} bytes, sealed {row['created_at']:%Y-%m-%d}")


async def _check_schema(settings: DatabaseSettings) -> None:
    """Refuse a schema that this version does not know. A database that is down is not refused: the API answers 503 until it is up."""
    database = Database(settings)
    try:
        await database.open()
    except Unavailable as error:
        structlog.get_logger().warning("the database is not up yet", error=str(error))
    finally:
        await database.close()


async def _until_stopped(work: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await work(stop)


def _watched(settings: WatchSettings) -> Pulse:
    pulse = Pulse(settings.stuck_seconds)
    if settings.metrics_port is not None:
        serve_pulse(settings.metrics_port, pulse)
    return pulse


def _configure_logging() -> None:
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, WhileItLasts(sys.stderr))),
        cache_logger_on_first_use=True,
    )


def _wrong_settings(error: ValidationError) -> str:
    def line(problem: object) -> str:
        found = problem if isinstance(problem, dict) else {}
        place = f"STRATUM_{'_'.join(map(str, found['loc'])).upper()}: " if found["loc"] else ""  # settings that do not fit together
        return f"  {place}{found['msg']}"

    return "wrong settings:\n" + "\n".join(line(problem) for problem in error.errors())


def main() -> None:
    """Run the command; expected failures end with one message and exit code 2 (settings) or 1."""
    _configure_logging()
    try:
        cli()
    except ValidationError as error:
        if not issubclass(_model_of(error), BaseSettings):
            raise
        sys.exit(_fail(_wrong_settings(error), 2))
    except (ControlPlaneError, ContractError) as error:
        sys.exit(_fail(str(error), 1))


def _model_of(error: ValidationError) -> type:
    known = (
        ApiSettings,
        RelaySettings,
        ReconcileSettings,
        WebhookSettings,
        DatabaseSettings,
        KafkaSettings,
        TopicSettings,
        StorageSettings,
        LeftoverSettings,
    )
    return next((kind for kind in known if kind.__name__ == error.title), type(error))


def _fail(message: str, code: int) -> int:
    typer.echo(f"control_plane: {message}", err=True)
    return code


if __name__ == "__main__":
    main()
