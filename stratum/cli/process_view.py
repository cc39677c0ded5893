"""A process on the terminal: while it goes on, and as a whole."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from stratum.cli.errors import FAILED
from stratum.cli.output import ago, duration, print_model, progress_console, say, show_facts, show_table, size, state_text, table

if TYPE_CHECKING:
    from rich.console import RenderableType

    from contracts.http import Process
    from stratum.client import Client


def wait_and_show(client: "Client", process: "Process", *, wait: bool, timeout: float | None, json: bool) -> int:
    """Show the process, after its end if `wait`. Returns the exit code."""
    if wait:
        with live_progress() as on_change:
            process = client.wait(process.id, timeout, check=False, on_change=on_change)
    show(process, json=json)
    return FAILED if wait and process.state != "succeeded" else 0


def show(process: "Process", *, json: bool) -> None:
    """The whole process."""
    if json:
        print_model(process)
        return
    show_facts(_facts(process))
    for made in process.artifacts:
        say(f"Sealed {process.entity_id}/{made.data_version}/{made.dataset}", "bold green")
        show_facts(
            [
                ("rows", f"{made.rows:,}"),
                ("size", size(made.bytes)),
                ("location", made.location),
                ("manifest", made.manifest),
                ("content", made.content_fingerprint),
            ]
        )
    if len(process.attempts) > 1 or (process.attempts and process.state != "succeeded"):
        tries = table("Attempt", "State", "Began", "Took", "Reason", right=("Attempt", "Took"), fold=("Reason",))
        for t in process.attempts:
            took = duration((t.ended_at - t.started_at).total_seconds()) if t.started_at and t.ended_at else ""
            tries.add_row(str(t.number), state_text(t.state), ago(t.started_at) if t.started_at else "", took, t.reason)
        show_table(tries)


def _facts(process: "Process") -> list[tuple[str, object]]:
    took = duration((process.ended_at - process.created_at).total_seconds()) if process.ended_at else None
    m = process.metrics
    return [
        ("process", process.id),
        ("state", state_text(process.state)),
        ("reason", process.reason or None),
        ("queue", f"place {process.queue.place}: {process.queue.cause}" if process.queue else None),
        ("action", f"{process.action} {_parameters(process)}".rstrip()),
        ("reads", f"{process.entity_id}/{process.data_version}/{process.input_dataset}"),
        ("makes", f"{process.entity_id}/{process.output_data_version}/{process.output_dataset}"),
        ("retry of", process.retry_of),
        ("created", ago(process.created_at)),
        ("took", took),
        ("rows", f"{m.rows_in:,} in, {m.rows_out:,} out" if m.rows_in is not None and m.rows_out is not None else None),
        ("bytes", f"{size(m.bytes_in)} in, {size(m.bytes_out)} out" if m.bytes_in is not None and m.bytes_out is not None else None),
    ]


def _parameters(process: "Process") -> str:
    import json

    return " ".join(f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in process.parameters.items())


@contextmanager
def live_progress() -> Iterator[Callable[["Process"], None]]:
    """A line on the terminal that follows a process, while the context lasts."""
    from rich.live import Live
    from rich.spinner import Spinner
    from rich.text import Text

    began = time.monotonic()
    latest: list[Process] = []
    spinner = Spinner("dots")

    def line() -> "RenderableType":
        spinner.update(text=Text.assemble(*_progress_words(latest[-1] if latest else None, time.monotonic() - began)))
        return spinner

    with Live(get_renderable=line, console=progress_console(), transient=True, refresh_per_second=8):
        yield latest.append


def _progress_words(process: "Process | None", elapsed: float) -> Iterator[tuple[str, str]]:
    yield f"{duration(elapsed):>9}  ", "dim"
    if process is None:
        return
    yield f"{process.state}", "bold cyan"
    if process.queue:
        yield f"  place {process.queue.place} ({process.queue.cause})", ""
    attempt = process.attempts[-1] if process.attempts else None
    if attempt and attempt.number > 1:
        yield f"  attempt {attempt.number}", "yellow"
    progress = (attempt and attempt.progress) or {}
    if fraction := progress.get("fraction"):
        yield f"  {fraction:.0%}", "bold"
    if stage := progress.get("stage"):
        yield f"  {stage}", ""
    if process.reason:
        yield f"  {process.reason}", "dim"
