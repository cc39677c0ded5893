"""The soak in small, and the judgement of its series."""

import asyncio
import json
import os
import random
import signal
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.slope import Trend, trend
from benchmarks.soak import FLOORS, PARTS, Soak, soak
from benchmarks.strikes import ROUND
from benchmarks.witness import Witness
from launcher.process.folder import MARKER, JobFolder
from tests.chaos.left import still_running
from tests.e2e.platform import Platform, running_platform
from tests.figures import report


def noisy(slope: float, level: float = 100) -> list[tuple[float, float]]:
    """A series with noise, and with a fall to almost nothing every ten samples, as after a restart."""
    chance = random.Random(7)
    return [(3.0 * n, 5.0 if n % 10 == 9 else level + slope * n + chance.gauss(0, 2)) for n in range(200)]


def test_a_level_series_is_flat_whatever_restarts_do_to_it() -> None:
    found = trend(noisy(0))
    assert found is not None
    assert abs(found.growth) < 0.05
    assert found.is_flat(0.25)


def test_a_leak_is_seen() -> None:
    found = trend(noisy(1))
    assert found is not None
    assert found.growth == pytest.approx(100 / 250, rel=0.2)
    assert not found.is_flat(0.25)


def test_what_warms_up_and_then_stays_is_flat() -> None:
    found = trend([(float(n), min(n, 80) + 20.0) for n in range(200)])
    assert found is not None
    assert found.growth == 0


def test_what_comes_back_after_a_restart_to_where_it_was_is_flat() -> None:
    found = trend([(float(n), 140.0 if n < 100 else 60.0 + (n - 100)) for n in range(200)])
    assert found is not None
    assert found.growth > 0.5
    assert found.is_flat(0.25)
    higher = trend([(float(n), 140.0 if n < 100 else 60.0 + 2 * (n - 100)) for n in range(200)])
    assert higher is not None
    assert not higher.is_flat(0.25)


def test_of_few_samples_nothing_is_said() -> None:
    assert trend(noisy(1)[:9]) is None


def whole(minutes: float) -> Soak:
    """A soak in which nothing grew."""
    done = Soak(seed=7, minutes=minutes)
    for part in PARTS:
        done.trends |= {f"{part}: {kind}": Trend(100, 0) for kind in FLOORS if kind != "connections"}
    done.trends |= {"postgres: connections": Trend(10, 0), "topics (bytes a process)": Trend(1000, 0.5)}
    return done


def test_a_short_soak_judges_memory_files_and_connections() -> None:
    done = whole(5)
    assert done.failures() == []
    done.trends["postgres: connections"] = Trend(20, 0.5)
    done.trends["s3: memory (PSS, MiB)"] = Trend(100, 0.37)
    assert done.failures() == ["postgres: connections grows by more than 25%"], "a store that warms up is no leak"
    del done.trends["api: open files"]
    assert done.failures()[1:] == ["api: open files has too few samples"]


def test_a_longer_soak_judges_every_series() -> None:
    done = whole(10)
    assert done.failures() == [], "of few processes nothing is said"
    done.accepted = [str(number) for number in range(20)]
    assert done.failures() == ["topics (bytes a process) grows by more than 25%"]
    assert whole(0.5).failures() == []


def test_every_part_and_a_driver_are_sent_both_signals() -> None:
    assert {victim for victim, _ in ROUND} == {*PARTS, "driver"}
    assert Counter(sent for _, sent in ROUND) == {signal.SIGKILL: 9, signal.SIGTERM: 9}


def test_the_ledger_has_what_the_drivers_logs_tell(tmp_path: Path) -> None:
    folder = JobFolder.create(tmp_path, "stratum-1-0-2", {}, b"{}")
    assert folder is not None
    line = {"process_id": "p", "attempt": 2, "run_id": "run-1"}
    told = [json.dumps({"event": event, **line}) for event in ("granted", "reading", "finished")]
    (folder.path / "driver.log").write_text("\n".join(["Spark says hello", *told[:2], "{torn}", told[2][:30]]))
    witness = Witness(Platform(tmp_path))
    witness.read_logs(tmp_path)
    assert (witness.ledger.granted, witness.ledger.finished) == ({("p", 2): {"run-1"}}, {})


def test_what_still_runs_of_a_job_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "stratum-1-0-1"
    with subprocess.Popen(["sleep", "600"], env={**os.environ, MARKER: str(folder)}) as process:
        try:
            assert still_running(tmp_path) == [f"process {process.pid} of stratum-1-0-1 runs still"]
            assert still_running(tmp_path / "elsewhere") == []
        finally:
            process.kill()
    assert still_running(tmp_path) == []


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_half_a_minute_of_it(tmp_path: Path) -> None:
    with running_platform(tmp_path / "home") as platform:
        done = asyncio.run(soak(platform, 0.5, kill_every=8, seed=7))
    report("soak of half a minute", done.table().splitlines()[0])
    assert done.problems == []
    assert len(done.accepted) > 5
    assert done.kills.total() > 0
    assert any("memory" in name for name in done.trends)
