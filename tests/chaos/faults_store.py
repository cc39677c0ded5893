"""Chaos row: the way of a real Spark driver to the store is bad."""

from tests.chaos.histories import RETRIED, WHOLE
from tests.chaos.real_runs import DRIVER_SECONDS, real_runs
from tests.chaos.stage import Stage
from tests.chaos.table import fault
from tests.chaos.traps import Trap, http_answer
from tests.chaos.wire import Wire

HASHES = "SELECT carrier, sha2(cast(n AS string), 256) AS h FROM (SELECT carrier, explode(sequence(1, 20000)) AS n FROM source)"
"""Enough for an upload of many pieces."""

INPUT = rb"GET /[^ ]+\.parquet"
BEGIN = rb"POST /[^ ]+\?uploads"
PART = rb"PUT /[^ ]+partNumber="
COMPLETE = rb"POST /[^ ]+\?uploadId="
LISTING = rb"GET /[^ ]+list-type=2"
_WIDER_THAN_ONE_LAYER = 4
"""The SDK under S3A asks three times, then S3A itself asks again."""


def _broken(wire: Wire) -> list[Trap]:
    """Reads, writes and listings meet errors and cuts, each some times."""
    failing, slow = http_answer(500, "Internal Server Error"), http_answer(503, "Slow Down")
    return [
        wire.trap(INPUT, answer=slow, times=_WIDER_THAN_ONE_LAYER),
        wire.trap(INPUT, "lose_answer", times=2),
        wire.trap(LISTING, answer=failing, times=2),
        wire.trap(BEGIN, "cut", times=2),
        wire.trap(PART, answer=failing, times=_WIDER_THAN_ONE_LAYER),
        wire.trap(PART, "lose_answer"),
        wire.trap(COMPLETE, answer=slow, times=2),
        wire.trap(COMPLETE, "lose_answer"),
    ]


@fault("the store is slow, fails and breaks off, under a real Spark driver", WHOLE, RETRIED)
async def _(stage: Stage) -> list[str]:
    async with real_runs(stage, stage.folder / "far-jobs") as runs:
        stage.fleet.play = runs.play
        wire = stage.wire("run_s3")
        wire.delay(0.05)
        traps = _broken(wire)
        answer = await stage.caller.run(action="sql", parameters={"query": HASHES}, output_dataset="hashes")
        assert answer.status_code == 202, answer.text
        ids = [str(answer.json()["id"])]
        stage.ledger.accepted += ids
        await stage.settled(ids, DRIVER_SECONDS)
        assert [trap.sprung for trap in traps] == [trap.times for trap in traps]
        assert wire.counters.cut >= sum(trap.times for trap in traps if trap.verdict != "pass")
        stage.saw(sum(trap.sprung for trap in traps), "a request that failed or broke off")
        stage.saw(wire.counters.delayed, "a piece held up")
    return ids
