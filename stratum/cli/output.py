"""What commands print: one JSON document, or tables for people. Progress goes to stderr, and only to a terminal."""

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.console import Console
    from rich.table import Table

PIPED_WIDTH = 2000
STATE_STYLES = {
    "succeeded": "green",
    "failed": "bold red",
    "cancelled": "yellow",
    "cancelling": "yellow",
    "running": "cyan",
    "sealing": "cyan",
}


@cache
def console() -> "Console":
    """For results. Where nobody looks, lines are as long as they are."""
    return _console(None if sys.stdout.isatty() else PIPED_WIDTH)


def _console(width: int | None) -> "Console":
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False, width=width)  # no markup: reasons and data may hold brackets


def say(text: str, style: str = "") -> None:
    """A line of text, never broken: addresses in it can be copied."""
    console().print(text, style=style, soft_wrap=True)


def say_titled(title: str, text: str, style: str = "") -> None:
    """A line of text behind a short title."""
    from rich.text import Text

    console().print(Text.assemble((f"{title:<11}", "bold"), (text, style)), soft_wrap=True)


@cache
def progress_console() -> "Console":
    """For what is going on: stderr, silent unless it is a terminal."""
    from rich.console import Console

    return Console(stderr=True, quiet=not sys.stderr.isatty(), highlight=False, markup=False, emoji=False)


def print_json(document: Any) -> None:
    """The one document of a command with `--json`."""
    sys.stdout.write(json.dumps(document, default=_jsonable, ensure_ascii=False, allow_nan=False) + "\n")


def print_model(model: "BaseModel", **options: Any) -> None:
    """`print_json` of a model."""
    print_json(model.model_dump(mode="json", **options))


def plain_row(row: dict[str, Any]) -> dict[str, Any]:
    """A row as JSON can hold it: decimals, dates and times as text, so that nothing is lost."""
    return {name: _plain(value) for name, value in row.items()}


def _plain(value: Any) -> Any:
    match value:
        case float() if value != value or value in (float("inf"), float("-inf")):
            return str(value)
        case list() | tuple():
            return [_plain(item) for item in value]
        case dict():
            return {str(key): _plain(item) for key, item in value.items()}
        case None | bool() | int() | float() | str():
            return value
        case _:
            return _jsonable(value)


def _jsonable(value: Any) -> Any:
    match value:
        case datetime() | date() | time():
            return value.isoformat()
        case Decimal():
            return str(value)
        case bytes():
            return value.hex()
        case _:
            return str(value)


def table(*columns: str, right: Iterable[str] = (), fold: Iterable[str] = (), title: str | None = None) -> "Table":
    """An empty table. The columns in `right` hold numbers, those in `fold` text that may be broken into lines."""
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, title=title, title_justify="left", title_style="bold")
    numbers, texts = set(right), set(fold)
    for name in columns:
        made.add_column(name, justify="right" if name in numbers else "left", overflow="fold", no_wrap=name not in texts)
    return made


def show_table(made: "Table") -> None:
    """Print a table as wide as the terminal; as wide as it likes where ids and addresses would have to be broken otherwise."""
    from rich.measure import Measurement

    unbroken = Measurement.get(console(), console().options.update(max_width=PIPED_WIDTH), made)
    fits = unbroken.minimum <= console().width
    (console() if fits else _console(unbroken.maximum)).print(made, soft_wrap=True, no_wrap=False, overflow="fold")


def show_facts(pairs: Sequence[tuple[str, Any]]) -> None:
    """Print names and values, one pair a line, values never broken; those that are None are left out."""
    from rich.text import Text

    shown = [(name, value) for name, value in pairs if value is not None]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        line = Text.assemble((f"{name:<{width}}  ", "dim"), value if isinstance(value, Text) else str(value))
        console().print(line, soft_wrap=True)


def rows_table(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> "Table":
    """Data rows. Numbers to the right, nulls dim."""
    from rich.text import Text

    numbers = [name for name in columns if any(_is_number(row.get(name)) for row in rows)]
    made = table(*columns, right=numbers)
    for row in rows:
        made.add_row(*(Text("null", style="dim") if row[name] is None else Text(cell(row[name])) for name in columns))
    return made


def cell(value: Any) -> str:
    """A value of a data row, for people."""
    match value:
        case datetime():
            return value.strftime("%Y-%m-%d %H:%M:%S") + (f".{value.microsecond:06}".rstrip("0") if value.microsecond else "")
        case list() | dict():
            return json.dumps(_plain(value), ensure_ascii=False)
        case float():
            return f"{value:.10g}"
        case bytes():
            return value.hex()
        case _:
            return str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def state_text(state: str) -> Any:
    """The state in its colour."""
    from rich.text import Text

    return Text(state, style=STATE_STYLES.get(state, ""))


def size(count: int) -> str:
    """Bytes in KiB, MiB or GiB."""
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= factor:
            return f"{count / factor:,.1f} {unit}"
    return f"{count} B"


def duration(seconds: float) -> str:
    """Seconds for people: `0.4 s`, `12 s`, `3 min 5 s`, `2 h 10 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def ago(moment: datetime) -> str:
    """How long since `moment`, roughly."""
    seconds = (datetime.now(UTC) - moment).total_seconds()
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit} ago"
    return "just now"
