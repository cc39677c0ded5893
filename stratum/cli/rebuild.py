"""`rebuild`."""

from typing import Annotated, Any

import typer

from stratum.cli.errors import exit_code
from stratum.cli.options import Json
from stratum.cli.output import print_json, progress_console, say
from stratum.cli.platform import local_platform
from stratum.errors import Conflict


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(rebuild)


def rebuild(
    tenant: Annotated[str | None, typer.Option(help="Only this tenant.", show_default="all")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only report.")] = False,
    json: Json = False,
) -> None:
    """Restore the registry of datasets on this machine from the manifests in its store.

    It registers what is missing, changes nothing that is there, and may be repeated. PostgreSQL and S3 must run. Exit code 4: something is
    to be looked at. On Kubernetes the same is `kubectl exec deployment/stratum-reconcile -- python -m control_plane rebuild`, or a Job:
    see docs/how-to/clean-up-and-restore.md.
    """
    with local_platform() as platform, progress_console().status("Reading manifests"):
        from stratum.local.rebuild import rebuild as rebuild_local

        report = rebuild_local(platform, tenant, dry_run=dry_run)
    if json:
        print_json(report)
    else:
        _show(report, dry_run=dry_run)
    if report["conflicts"]:
        raise typer.Exit(exit_code(Conflict("something is to be looked at")))


def _show(report: dict[str, Any], *, dry_run: bool) -> None:
    done = "would be registered" if dry_run else "registered"
    say(f"{report['known']} known, {len(report['registered'])} {done}, {len(report['conflicts'])} to be looked at")
    for name in report["registered"]:
        say(f"{done}: {name}", "green")
    for name, why in sorted(report["conflicts"].items()):
        say(f"to be looked at: {name}: {why}", "yellow")
