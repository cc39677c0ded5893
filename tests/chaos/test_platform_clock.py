"""A whole platform in which every part has another time."""

import asyncio
import json
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from tests.chaos.histories import CERTAIN
from tests.control_plane.receiver import receiving
from tests.e2e.platform import Platform, running_platform, wait_for

ROOT = Path(__file__).parents[2]
CANCELLED = ("accepted", "queued", "running", "cancelling", "cancelled")
ROWS = "k,v\n" + "".join(f"k{n % 7},{n}\n" for n in range(20_000))
LONG = "SELECT k, count(*) AS n FROM source LATERAL VIEW explode(sequence(1, 20000)) t AS x WHERE v + x > 3 GROUP BY k"


def python_path(folder: Path, wrong: Mapping[str, float]) -> str:
    """Where Python finds, before all else, what puts the clocks wrong; `stratum up` hands it on to all parts."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(f"from tests.chaos.clock import shift_part\n\nshift_part({dict(wrong)})\n")
    return os.pathsep.join(filter(None, [str(folder), str(ROOT), os.environ.get("PYTHONPATH")]))


def wrong_by(log: Path) -> float:
    """By how much the time in the last line of a part's log is not that at which it was written."""
    stamps = [json.loads(line)["timestamp"] for line in log.read_text().splitlines() if line.startswith("{")]
    return datetime.fromisoformat(stamps[-1]).timestamp() - log.stat().st_mtime


def work(platform: Platform, data: Path, callback_url: str) -> list[dict[str, Any]]:
    """One process that succeeds and one that is cancelled while it runs, both with exactly the history that they must have."""
    data.write_text(ROWS)
    assert platform.json("ingest", "clocks", "v1", str(data))["rows"] == 20_000

    def begun(action: str, **parameters: str) -> str:
        process = platform.post(entity_id="clocks", data_version="v1", action=action, parameters=parameters, callback_url=callback_url)
        return str(process["id"])

    def until_told(process_id: str, *history: str) -> None:
        def is_told() -> bool:
            return platform.history(process_id) == [*history, "webhook_delivered"]

        wait_for(is_told, 60, lambda: f"the history {history}, and word of it; it is {platform.history(process_id)}")

    filtered = platform.wait(begun("filter", condition="v > 6"), "succeeded")
    until_told(filtered["id"], *CERTAIN.split())
    assert len(filtered["attempts"]) == 1
    platform.assert_sealed_exactly(filtered)

    long = begun("sql", query=LONG)
    platform.wait(long, "running")
    platform.json("cancel", long)
    cancelled = platform.wait(long, "cancelled")
    until_told(long, *CANCELLED)
    return [filtered, cancelled]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("by", [-600, 600])
async def test_a_platform_whose_parts_disagree_about_the_time(by: int, tmp_path: Path) -> None:
    wrong = {"api": by, "launcher": -by, "webhooks": by, "reconcile": -by}
    async with receiving() as receiver:
        with running_platform(tmp_path / "home", PYTHONPATH=python_path(tmp_path / "path", wrong)) as platform:
            processes = await asyncio.to_thread(work, platform, tmp_path / "rows.csv", receiver.url())
            received = await receiver.until(2)
            with platform.http as http:
                secret = http.get("/v1/webhooks/secret").json()["items"][0]["secret"]
            told = {(event := Webhook(secret).verify(each.body, each.headers))["data"]["id"]: event["type"] for each in received}
            assert told == {process["id"]: f"process.{process['state']}" for process in processes}
            logs = {part: Path(platform.json("status")["parts"][part]["log"]) for part in (*wrong, "relay")}
            assert {part: wrong_by(log) for part, log in logs.items()} == pytest.approx({**wrong, "relay": 0}, abs=60)
