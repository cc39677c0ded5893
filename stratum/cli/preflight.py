"""`preflight`."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stratum.cli.errors import FAILED
from stratum.cli.options import Json
from stratum.cli.output import console, duration, print_json, progress_console, say
from stratum.errors import MissingExtra

if TYPE_CHECKING:
    from stratum.preflight.runner import Check, Result, Tell
    from stratum.preflight.target import Target

_NAME = 40
"""Columns for a check's name: an image in it may be longer than what was found."""
_STYLES = {"pass": "green", "warn": "yellow", "fail": "bold red", "skip": "dim"}


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(preflight)


def preflight(
    only: Annotated[list[str], typer.Option("--only", metavar="GROUP", help="Only this group; may be repeated.")] = [],  # noqa: B006
    skip: Annotated[list[str], typer.Option("--skip", metavar="GROUP", help="Not this group; may be repeated.")] = [],  # noqa: B006
    namespace: Annotated[str | None, typer.Option(help="Where Stratum itself runs.", show_default="STRATUM_NAMESPACE")] = None,
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's storage, namespace and token.", show_default="all")] = None,
    storage_root: Annotated[
        list[str], typer.Option(metavar="s3://BUCKET/PREFIX", help="Look here; may be repeated.", show_default="those of the tenants")
    ] = [],  # noqa: B006
    pods: Annotated[bool, typer.Option("--pods/--no-pods", help="Start a pod in each tenant's namespace, as a run would.")] = True,
    timeout: Annotated[float, typer.Option(help="Seconds for each check.", min=1)] = 30,
    json: Json = False,
) -> None:
    """Check a deployment, part by part, and say how to mend it. Groups: api, postgres, kafka, s3, tokens, kubernetes.

    The target is named by the variables that the services read (docs/reference/settings.md); without any, it is the platform on
    this machine.
    """
    try:
        from stratum.preflight import groups, target
        from stratum.preflight.runner import run
    except ModuleNotFoundError as error:
        raise MissingExtra("preflight") from error
    names = groups.chosen(only, skip)
    looked_at = target.find(namespace=namespace, tenant=tenant, roots=tuple(storage_root) or None, pods=pods)
    checks = groups.checks(names, looked_at)
    with _progress(len(checks)) as tell:
        results = run(checks, timeout, looked_at.secrets, tell)
    summary = {status: sum(result.status == status for result in results) for status in _STYLES}
    if json:
        print_json({"target": looked_at.document(), "checks": [result.document() for result in results], "summary": summary})
    else:
        _show(looked_at, results, summary)
    raise typer.Exit(FAILED if summary["fail"] else 0)


@contextmanager
def _progress(count: int) -> Iterator["Tell"]:
    """A line on the terminal that says which checks are awaited."""
    going: list[str] = []
    done = 0
    with progress_console().status("Looking") as line:

        def tell(check: "Check", result: "Result | None") -> None:
            nonlocal done
            name = f"{check.group}: {check.name}"
            if result is None:
                going.append(name)
            else:
                going.remove(name)
                done += 1
            more = f" and {len(going) - 2} more" if len(going) > 2 else ""
            line.update(f"{done} of {count}  {', '.join(going[:2])}{more}")

        yield tell


def _show(target: "Target", results: "Sequence[Result]", summary: dict[str, int]) -> None:
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    say(f"Preflight of {_words(target)}", "bold")
    width = min(_NAME, max(len(result.name) for result in results))
    for group, found in groupby(results, key=lambda result: result.group):
        say("")
        say(group, "bold")
        shown: Any = Table.grid(padding=(0, 2))
        shown.add_column(no_wrap=True)
        shown.add_column(min_width=width, max_width=width, overflow="fold")
        shown.add_column(overflow="fold", ratio=1)
        shown.add_column(no_wrap=True, justify="right", style="dim")
        for result in found:
            style = _STYLES[result.status]
            took = duration(result.seconds) if result.seconds >= 0.05 else ""
            shown.add_row(
                Text(result.status, style=style), result.name, Text(result.detail, style="dim" if result.status == "skip" else ""), took
            )
            if result.remedy:
                shown.add_row("", "", Text(f"→ {result.remedy}", style="dim" if result.status == "skip" else "cyan"), "")
        console().print(Padding(shown, (0, 0, 0, 2), expand=False))
    say("")
    say(_sentence(summary), _STYLES["fail" if summary["fail"] else "warn" if summary["warn"] else "pass"])


def _words(target: "Target") -> str:
    if target.local_home is not None:
        return f"the platform on this machine ({_short(target.local_home)})"
    return f"{target.url or target.namespace or 'the named endpoints'}"


def _short(path: Path) -> str:
    return str(path).replace(str(Path.home()), "~", 1)


def _sentence(summary: dict[str, int]) -> str:
    counts = f"{summary['pass']} passed, {summary['warn']} warnings, {summary['fail']} failed, {summary['skip']} skipped"
    return f"Not ready: {counts}." if summary["fail"] else f"Ready: {counts}."
