"""Chaos row: a disk is full under a real Spark driver."""

from tests.chaos.histories import RETRIED
from tests.chaos.real_runs import DRIVER_SECONDS, real_runs
from tests.chaos.small_disk import small_disk
from tests.chaos.stage import Stage
from tests.chaos.table import fault
from tests.control_plane.waiting import eventually

HASHES = "SELECT sha2(cast(n AS string), 256) AS h FROM (SELECT explode(sequence(1, 300000)) AS n FROM source LIMIT 300000)"
NEEDING_ROOM = {"shuffled": f"SELECT count(DISTINCT h) AS hashes FROM ({HASHES})", "written": HASHES}
"""The one fills the disk with what it shuffles, the other with what it has not yet uploaded."""


@fault("the disk with a run's shuffle, spills and uploads is full", RETRIED)
async def _(stage: Stage) -> list[str]:
    with small_disk(stage.folder / "jobs", mebibytes=8) as disk:
        async with real_runs(stage, disk.folder) as runs:
            stage.fleet.play = runs.play
            ids = []
            for name, query in NEEDING_ROOM.items():
                answer = await stage.caller.run(action="sql", parameters={"query": query}, output_dataset=name)
                assert answer.status_code == 202, answer.text
                ids.append(str(answer.json()["id"]))
            stage.ledger.accepted += ids
            failed = "SELECT count(*) = 2 FROM attempts WHERE process_id = ANY($1::uuid[]) AND number = 1 AND state = 'failed'"
            await eventually(lambda: stage.sql.fetchval(failed, ids), DRIVER_SECONDS, "two runs without room")
            stage.saw(2, "a run without room")
            disk.resize(512)
            attempts = await stage.sql.fetch(
                "SELECT error_class, reason FROM attempts WHERE process_id = ANY($1::uuid[]) AND number = 1", ids
            )
            for attempt in attempts:
                assert attempt["error_class"] == "NO_SPACE", tuple(attempt)
                assert "disk" in attempt["reason"], attempt["reason"]
                assert "\n" not in attempt["reason"]
            await stage.settled(ids, DRIVER_SECONDS)
    return ids
