"""`stratum demo`: checks its own result, says what exists the second time, and names commands that work."""

import os
import shlex
import time
from pathlib import Path

from tests.e2e.platform import Installation, Platform


def test_the_demo_and_the_demo_again(platform: Platform) -> None:
    first = platform.cli("demo").stdout
    assert "336,776 rows" in first
    assert "all 179 groups are those that pyarrow counts in the CSV itself" in first
    began = time.monotonic()
    second = platform.cli("demo").stdout
    assert time.monotonic() - began < 60
    for line in ("source exists already", "long_flights exists already", "delays_by_carrier_and_month exists already"):
        assert line in second
    suggestions = [shlex.split(line) for line in second.partition("Try next")[2].splitlines() if "stratum " in line]
    named = [arguments for program, *arguments in suggestions if Path(program).name == "stratum"]
    assert {command[0] for command in named} == {"head", "reproduce", "run", "datasets", "list", "down"}
    for command in named:
        if command[0] in ("head", "datasets", "list", "run"):
            platform.cli(*command)


def test_the_demo_on_a_platform_elsewhere(platform: Platform, tmp_path: Path) -> None:
    home = tmp_path / "home"
    named = {"STRATUM_HOME": str(home), "STRATUM_URL": platform.document["url"], "STRATUM_TOKEN": platform.document["token"]}
    shown = Installation({**os.environ, **named}, platform.document).cli("demo").stdout
    assert "all 179 groups are those that pyarrow counts in the CSV itself" in shown
    assert not home.exists()  # nothing was started here, so there is nothing to stop either
    assert "stratum down" not in shown
