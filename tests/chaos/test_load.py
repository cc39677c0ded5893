"""The load of `benchmarks/accept_load.py`, small enough for a test."""

from pathlib import Path

import pytest

from benchmarks.accept_load import accepted_load, bare_load, measured, prepare
from tests.e2e.platform import running_platform
from tests.figures import report


@pytest.mark.slow
def test_every_202_is_there_once_though_database_and_broker_died(tmp_path: Path) -> None:
    with running_platform(tmp_path / "home") as platform:
        prepare(platform, tmp_path)
        load = measured(accepted_load, platform, 100, 15)
        assert load.statuses["no answer"] + load.statuses["503"] > 0, "nobody noticed that the database was killed"
        bare = measured(bare_load, platform, 2000, 1)
    report("accepted while PostgreSQL and Kafka were killed", f"{load}")
    report("the bare handler", f"{bare}")
