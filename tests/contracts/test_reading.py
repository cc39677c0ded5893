"""Documents and messages of strangers: what reading one costs is bounded, whatever it is."""

import json
import resource
import subprocess
import sys

import pytest

from tests.contracts.hostile_bodies import KINDS

pytestmark = pytest.mark.security

MOST_GROWN = {"proposal": 400, "manifest": 400}
"""MiB, of a role that may have 512 and begins with less than a hundred."""
MOST_GROWN_BY_MESSAGES = 200
"""MiB, of a role that may have 384."""
MOST_WORDS = 4000


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
