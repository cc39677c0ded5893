"""Chaos rows: who may not be heard."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from contracts.command import AttemptRef, Command
from contracts.identifiers import new_id
from tests.chaos.fleet import Fleet
from tests.chaos.histories import CERTAIN
from tests.chaos.stage import Stage
from tests.chaos.table import fault, heard, until
from tests.control_plane.driver import Driver
from tests.control_plane.waiting import eventually

ELSEWHERE: tuple[dict[str, Any], ...] = ({"tenant": "somebody-else"}, {"process_id": new_id()}, {"step": 1}, {"attempt": 2})


@fault("reports with the token of another tenant, process, step, attempt or run", CERTAIN, smoke=True)
async def _(stage: Stage) -> list[str]:
    answers: Counter[int] = Counter()

    async def play(fleet: Fleet, command: Command) -> None:
        driver = fleet.driver(command)
        await fleet.started(driver)
        reference = await driver.make()
        for token in _tokens(stage, driver):
            for kind, fields in _reports(reference).items():
                answer = await driver.report(kind, token=token, **fields)
                answers[answer.status_code] += 1
                if answer.is_success:
                    fleet.ledger.intruders.append(f"`{kind}` of another was heard")
        await fleet.finished(driver, reference)

    stage.fleet.play = play
    ids = await stage.accept(2)
    await stage.settled(ids)
    for status, times in answers.items():
        stage.saw(times, f"a report of another, answered {status}")
    assert answers == {410: 2 * 3 * len(ELSEWHERE), 401: 2 * 3}
    return ids


def _tokens(stage: Stage, driver: Driver) -> list[str]:
    """All of them are signed with the right key."""
    keys, mine = stage.installation.keys, AttemptRef.model_validate(driver.command.model_dump(include=set(AttemptRef.model_fields)))
    later = datetime.now(UTC) + timedelta(minutes=5)
    of_others = [keys.sign("stratum:run", mine.model_copy(update=changes), later, driver.run_id) for changes in ELSEWHERE]
    return [*of_others, keys.sign("stratum:run", mine, later, "another-run")]


def _reports(reference: dict[str, str]) -> dict[str, dict[str, Any]]:
    error = {"class": "FORGED", "message": "it never was so", "retryable": False}
    return {"heartbeat": {}, "failed": {"error": error}, "finished": {"proposal": reference}}


@fault("events about tenants, processes and attempts that are not, and lists of jobs from elsewhere and from the future", smoke=True)
async def _(stage: Stage) -> list[str]:
    told: list[Command] = []

    async def play(fleet: Fleet, command: Command) -> None:
        driver, say = fleet.driver(command), fleet.launcher.say
        await say("submitted", command)
        await fleet.started(driver)
        known = "SELECT count(*) = 1 FROM attempts WHERE process_id = ANY($1::uuid[]) AND cluster IS NOT NULL AND state = 'started'"
        await until(stage, known, [str(command.process_id)], "a run whose cluster is known")
        await stage.sql.execute("UPDATE attempts SET lease_until = clock_timestamp() WHERE process_id = $1", command.process_id)
        fleet.ledger.alive.add((str(command.process_id), command.attempt))
        for changes in ELSEWHERE:
            await say("ended", command.model_copy(update=changes), outcome="vanished")
            await say("refused", command.model_copy(update=changes))
        await say("refused", command)
        now = await stage.now()
        await fleet.launcher.relist(now, cluster="elsewhere")
        await fleet.launcher.relist(now + timedelta(hours=1))
        told.append(command)
        await fleet.finished(driver, await driver.make())

    stage.fleet.play = play
    ids = await stage.accept(1)

    async def all_told() -> bool:
        return bool(told)

    await eventually(all_told, 120, "the last of what is forged")
    await stage.settled(ids)
    await heard(stage, stage.reconcile, "event of an unknown process", "an event of an unknown process")
    await heard(stage, stage.reconcile, "event of an earlier attempt", "an event of an attempt that is not")
    await heard(stage, stage.reconcile, "a command was refused whose run goes on", "a refusal of a command whose run goes on")
    await heard(stage, stage.reconcile, "event put aside", "a list of jobs from the future")
    elsewhere = "SELECT count(*) FROM observations WHERE cluster = 'elsewhere'"
    stage.saw(await stage.sql.fetchval(elsewhere), "a list of jobs from another cluster")
    return ids


@fault("the run whose result was sealed writes and reports on", CERTAIN)
async def _(stage: Stage) -> list[str]:
    late: list[int] = []

    async def play(fleet: Fleet, command: Command) -> None:
        driver = fleet.driver(command)
        await fleet.started(driver)
        await fleet.finished(driver, await driver.make())
        sealed = "SELECT count(*) = 1 FROM processes WHERE id = ANY($1::uuid[]) AND state = 'succeeded'"
        await until(stage, sealed, [str(command.process_id)], "the seal")
        file = await driver.write()
        more = file.model_copy(update={"key": file.key.replace("part-00000", "part-00001")})
        reference = await driver.propose(driver.proposal(driver.proposed(file, more)))
        late.append((await driver.heartbeat()).status_code)
        late.append((await driver.failed(retryable=True)).status_code)
        late.append((await driver.finished(reference)).status_code)

    stage.fleet.play = play
    ids = await stage.accept(1)

    async def told() -> bool:
        return len(late) == 3

    await eventually(told, 60, "three late reports")
    stage.saw(len(late), "a report after the seal")
    assert late == [410, 410, 200], "the last was heard before, and is not used again"
    return ids
