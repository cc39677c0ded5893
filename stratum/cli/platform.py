"""`up`, `down`, `status`, `demo`: the platform on this machine."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stratum.cli.options import Json
from stratum.cli.output import duration, print_json, progress_console, say, show_facts, show_table, table
from stratum.errors import MissingExtra, StratumError, Unavailable

if TYPE_CHECKING:
    from stratum.local.platform import Platform


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(up)
    app.command()(down)
    app.command()(status)
    app.command()(demo)


def up(detach: Annotated[bool, typer.Option("--detach", "-d", help="Return when it is up.")] = False, json: Json = False) -> None:
    """Start the platform on this machine. Without --detach: until Ctrl-C."""
    with local_platform() as platform:
        document = _bring_up(platform)
        with suppress(KeyboardInterrupt):
            _show(document, json=json)
            if detach:
                return
            progress_console().print("Press Ctrl-C to stop it.")
            signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite kill is as good
            signal.pause()
        _take_down(platform)


def down(json: Json = False) -> None:
    """Stop the platform on this machine. Its data stays."""
    with local_platform() as platform:
        _take_down(platform)
    if json:
        print_json({"state": "down"})
    else:
        say("Stopped. `stratum up` finds everything again.")


def status(json: Json = False) -> None:
    """Show whether the platform on this machine is up, part by part."""
    with local_platform() as platform:
        document = platform.status()
    if json:
        print_json(document)
    else:
        _show_status(document)


def demo() -> None:
    """Show all of it on real data: 336,776 flights ingested, filtered, aggregated, checked.

    On the platform that STRATUM_URL names; without it, one is started on this machine.
    """
    from stratum.demo import run_demo

    if os.environ.get("STRATUM_URL"):
        run_demo()
        return
    with local_platform() as platform:
        run_demo(lambda: _bring_up(platform))


@contextmanager
def local_platform() -> Iterator["Platform"]:
    """The platform in `STRATUM_HOME`; its errors as ours."""
    from stratum.client.settings import home

    try:
        from stratum.local.errors import LocalError, NotUp
        from stratum.local.platform import Platform
    except ModuleNotFoundError as error:
        raise MissingExtra("local") from error
    try:
        yield Platform(home())
    except NotUp as error:
        raise Unavailable(error.message, error.remedy) from error
    except LocalError as error:
        raise StratumError(error.message, error.remedy) from error


def _bring_up(platform: "Platform") -> dict[str, Any]:
    with progress_console().status("Starting") as line:
        return platform.up(lambda text: line.update(text))


def _take_down(platform: "Platform") -> None:
    with progress_console().status("Stopping") as line:
        platform.down(lambda text: line.update(text))


def _show_status(document: dict[str, Any]) -> None:
    from rich.text import Text

    style = {"up": "green", "degraded": "yellow"}.get(document["state"], "dim")
    show_facts([("state", Text(document["state"], style=style)), ("API", document["url"]), ("data", document["data_dir"])])
    parts = table("Part", "State", "Pid", "Up for", "Log", right=("Pid", "Up for"))
    for name, part in document["parts"].items():
        is_running = part["state"] == "running"
        parts.add_row(name, part["state"], str(part["pid"] or ""), duration(part["seconds"]) if is_running else "", part["log"])
    show_table(parts)


def _show(document: dict[str, Any], *, json: bool) -> None:
    if json:
        print_json(document)
        return
    store = document["s3"]
    say("The platform is up.", "bold green")
    show_facts(
        [
            ("API", document["url"]),
            ("token", document["token"]),
            ("S3", f"{store['endpoint']}  bucket {store['bucket']}"),
            ("data", document["data_dir"]),
        ]
    )
    say("Next: stratum demo, or stratum ingest ENTITY VERSION FILE…", "dim")
