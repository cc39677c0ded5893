"""Documents and messages of strangers: what reading one costs is bounded, whatever it is."""

import json
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from contracts import reading
from contracts.command import Command
from contracts.errors import Unreadable
from tests.contracts.hostile_bodies import EXAMPLES, KINDS

pytestmark = pytest.mark.security

MOST_GROWN = {"proposal": 400, "manifest": 400}
"""MiB, of a role that may have 512 and begins with less than a hundred."""
MOST_GROWN_BY_MESSAGES = 120
"""MiB, of a role that may have 384."""
MOST_WORDS = 4000
ROOT = Path(__file__).parents[2]
OF_OUR_OWN = {
    "control_plane/api/processes.py": "an answer that the database keeps",
    "control_plane/footer_reader.py": "the answer of a child process",
    "launcher/observe.py": "the control plane's answer",
    "launcher/process/records.py": "files of the launcher",
    "launcher/kubernetes/wish.py": "annotations of the launcher",
    "launcher/kubernetes/marks.py": "annotations of the launcher",
    "spark_jobs/cli.py": "the run's own command line",
    "spark_jobs/edge/callbacks.py": "the control plane's answer",
}
"""Who reads JSON without bounds, and whose it is."""


def _limited() -> None:
    """What would take the machine's memory is refused it."""
    resource.setrlimit(resource.RLIMIT_AS, (2 * 1024**3, 2 * 1024**3))


@pytest.mark.parametrize("kind", KINDS)
def test_no_body_makes_its_reader_grow_beyond_its_limit(kind: str) -> None:
    child = subprocess.run(
        [sys.executable, "-m", "tests.contracts.hostile_bodies", kind], capture_output=True, text=True, preexec_fn=_limited, check=False
    )
    seen = [json.loads(line) for line in child.stdout.splitlines()]
    last = seen[-1]["shape"] if seen else "none"
    assert child.returncode == 0, f"it died behind {last}: {child.stderr[-300:]}"
    assert all(len(each["outcome"]) <= MOST_WORDS for each in seen)
    most = MOST_GROWN.get(kind, MOST_GROWN_BY_MESSAGES)
    worst = next((each for each in seen if each["grown"] > most), None)
    assert worst is None, f"{worst}"


def test_what_strangers_write_is_read_within_bounds() -> None:
    found = {
        str(file.relative_to(ROOT))
        for part in ("control_plane", "launcher", "spark_jobs")
        for file in (ROOT / part).rglob("*.py")
        if re.search(r"validate_json\(", file.read_text(encoding="utf-8"))
    }
    assert found == OF_OUR_OWN.keys()


def test_the_reason_names_fields_and_never_values() -> None:
    command = json.loads((EXAMPLES / "command/good-mission.json").read_text(encoding="utf-8"))
    command |= {"attempt": "a-secret", "flow_token": ["a-secret"]}
    with pytest.raises(Unreadable, match="attempt: Input should be") as caught:
        reading.read(Command, json.dumps(command).encode(), reading.MESSAGE)
    assert "flow_token" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None, "the error of the library holds what was read"


def test_whatever_was_accepted_makes_a_command_that_is_read() -> None:
    """The most values that parameters may have."""
    command = json.loads((EXAMPLES / "command/good-mission.json").read_text(encoding="utf-8"))
    command["parameters"] = {"a": [[]] * (256 * 1024 // 3 - 10)}
    assert reading.read(Command, json.dumps(command, separators=(",", ":")).encode(), reading.MESSAGE).parameters == command["parameters"]


@pytest.mark.parametrize(
    ("text", "is_read"),
    [("a" * 900, True), ("é" * 400, False), ("é" * 200, True), ("\N{GRINNING FACE}" * 100, False), (r"\u0041" * 60, False)],
)
def test_a_text_counts_as_what_it_takes_in_memory(text: str, is_read: bool) -> None:
    bounds = reading.Bounds(most_bytes=1000, most_values=10)
    body = f'"{text}"'.encode()
    if is_read:
        reading.check_bounds(body, bounds)
    else:
        with pytest.raises(Unreadable, match="at most 1000"):
            reading.check_bounds(body, bounds)
