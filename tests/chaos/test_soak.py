"""The soak in small, and the judgement of its series."""

import asyncio
import random
from pathlib import Path

import pytest

from benchmarks.slope import trend
from benchmarks.soak import soak
from tests.e2e.platform import running_platform
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


def test_of_few_samples_nothing_is_said() -> None:
    assert trend(noisy(1)[:9]) is None


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_half_a_minute_of_it(tmp_path: Path) -> None:
    with running_platform(tmp_path / "home") as platform:
        done = asyncio.run(soak(platform, 0.5, kill_every=8, seed=7))
    report("soak of half a minute", done.table().splitlines()[0])
    assert done.problems == []
    assert len(done.accepted) > 5
    assert sum(done.kills.values()) > 0
    assert any("memory" in name for name in done.trends)
