"""Chaos rows: what runs and launchers report."""

import asyncio
import json
from collections import Counter
from datetime import datetime
from typing import Any

from contracts.command import Command
from tests.chaos.fleet import Fleet, insist
from tests.chaos.histories import CERTAIN, CERTAINLY_RETRIED, RETRIED, WHOLE
from tests.chaos.later import later
from tests.chaos.stage import Stage
from tests.chaos.table import COMMIT, fault, sprung, until
from tests.control_plane.driver import Driver
from tests.control_plane.waiting import eventually


@fault("the answer to `started` is lost", smoke=True)
async def _(stage: Stage) -> list[str]:
    return await _report_answer_lost(stage, "started")


@fault("the answer to `finished` is lost")
async def _(stage: Stage) -> list[str]:
    return await _report_answer_lost(stage, "finished")


async def _report_answer_lost(stage: Stage, kind: str) -> list[str]:
    trap = stage.wire("run_api").trap(rf'"type": ?"{kind}"', "lose_answer")
    ids = await stage.accept(1)
    await sprung(stage, trap, f"a report `{kind}` whose answer was lost")
    return ids


@fault("the database's answer to the COMMIT of a last report is lost", CERTAIN)
async def _(stage: Stage) -> list[str]:
    traps = []

    async def play(fleet: Fleet, command: Command) -> None:
        driver = fleet.driver(command)
        await fleet.started(driver)
        reference = await driver.make()
        traps.append(stage.wire("api_postgres").trap(COMMIT, "lose_answer"))
        await fleet.finished(driver, reference)

    stage.fleet.play = play
    ids = await stage.accept(1)
    await stage.settled(ids)
    assert [trap.sprung for trap in traps] == [1]
    stage.saw(1, "a COMMIT done whose answer was lost")
    return ids


@fault("the last report never comes, and the job's end tells of it")
async def _(stage: Stage) -> list[str]:
    async def play(fleet: Fleet, command: Command) -> None:
        await fleet.launcher.say("submitted", command)
        driver = fleet.driver(command)
        await fleet.started(driver)
        await driver.make()
        await fleet.launcher.say("ended", command)

    stage.fleet.play = play
    ids = await stage.accept(2)
    await stage.settled(ids)
    assert not stage.ledger.finished
    stage.saw(sum(event["type"] == "ended" for event in stage.launcher.events(*ids)), "an end told by the launcher alone")
    return ids


@fault("a second pod of the same attempt", CERTAIN, smoke=True)
async def _(stage: Stage) -> list[str]:
    refused = []

    async def play(fleet: Fleet, command: Command) -> None:
        driver, twin = fleet.driver(command), fleet.driver(command)
        await fleet.started(driver)
        answer = await fleet.started(twin)
        refused.append(answer.status_code)
        if answer.is_success:
            await twin.make()
        await fleet.finished(driver, await driver.make())

    stage.fleet.play = play
    ids = await stage.accept(2)
    await stage.settled(ids)
    assert refused == [409, 409]
    stage.saw(len(refused), "a second pod, answered 409")
    return ids


@fault("a run of an attempt that was given up goes on, writes and reports", CERTAINLY_RETRIED)
async def _(stage: Stage) -> list[str]:
    zombies: list[int] = []

    async def play(fleet: Fleet, command: Command) -> None:
        driver = fleet.driver(command)
        await fleet.started(driver)
        if command.attempt == 1:
            await fleet.launcher.say("ended", command, outcome="vanished")
            query = "SELECT count(*) = 1 FROM processes WHERE id = ANY($1::uuid[]) AND state = 'succeeded'"
            await until(stage, query, [str(command.process_id)], "the second attempt's success")
            zombies.append((await driver.finished(await driver.make())).status_code)
        else:
            await fleet.finished(driver, await driver.make())

    stage.fleet.play = play
    ids = await stage.accept(1)

    async def refused() -> bool:
        return zombies == [410]

    await eventually(refused, 60, "the refusal of the late run")
    stage.saw(len(zombies), "a late report, answered 410")
    return ids


@fault("the last report races the list of jobs that calls the run lost", WHOLE, RETRIED)
async def _(stage: Stage) -> list[str]:
    raced: list[tuple[str, int]] = []
    lists: list[datetime] = []

    async def play(fleet: Fleet, command: Command) -> None:
        await fleet.launcher.say("submitted", command)
        driver, process_id = fleet.driver(command), str(command.process_id)
        await fleet.started(driver)
        if command.attempt == 1:
            known = "SELECT count(*) = 1 FROM attempts WHERE process_id = ANY($1::uuid[]) AND cluster IS NOT NULL AND state = 'started'"
            await until(stage, known, [process_id], "a run whose cluster is known")
            await stage.sql.execute("UPDATE attempts SET lease_until = clock_timestamp() WHERE process_id = $1", process_id)
            lists.append(await stage.now())
            await asyncio.gather(fleet.launcher.relist(lists[0]), _finish(fleet, driver, raced))
        else:
            await fleet.finished(driver, await driver.make())

    stage.fleet.play = play
    ids = await stage.accept(1)

    async def both() -> bool:
        return bool(raced)

    await eventually(both, 60, "the end of the race")
    taken_up = "SELECT count(*) FROM observations WHERE cluster = $1 AND began_at = $2"

    async def read() -> Any:
        return await stage.sql.fetchval(taken_up, stage.launcher.cluster, lists[0])

    stage.saw(await eventually(read, 60, "a list of jobs taken up"), "a list of jobs taken up")
    return ids


async def _finish(fleet: Fleet, driver: Driver, answers: list[tuple[str, int]]) -> None:
    answers.append((driver.run_id, (await fleet.finished(driver, await driver.make())).status_code))


@fault("events twice, in the wrong order, late, of others, unreadable and too long", CERTAIN, smoke=True)
async def _(stage: Stage) -> list[str]:
    async def play(fleet: Fleet, command: Command) -> None:
        driver, say = fleet.driver(command), fleet.launcher.say
        await fleet.started(driver)
        for rubbish in (b"", b"\xff", b"{}", b"[" * 200_000, json.dumps({"type": "exploded"}).encode()):
            await fleet.launcher.publish(rubbish)
        await say("ended", command.model_copy(update={"tenant": "somebody-else"}))
        reference = await driver.make()
        await fleet.finished(driver, reference)
        for kind in ("ended", "submitted", "ended", "pending", "submitted"):
            await say(kind, command)
        assert (await driver.finished(reference)).status_code == 200

    letters = stage.launcher.received[stage.launcher.topics.dlq(stage.launcher.topics.events)]
    before = len(letters)
    stage.fleet.play = play
    ids = await stage.accept(2)
    await stage.settled(ids)

    async def buried() -> bool:
        return len(letters) >= before + 10

    await eventually(buried, 60, "the dead letters")
    stage.saw(len(letters) - before, "a dead letter")

    async def injected() -> bool:
        return len(stage.launcher.events(*ids)) == 12

    await eventually(injected, 60, "the events that nobody should act on")
    events = stage.launcher.events(*ids)
    strange = [event for event in events if event["tenant"] != stage.caller.tenant]
    stage.saw(len(strange), "an event in another tenant's name")
    late = Counter(event["type"] for event in events if event not in strange)
    stage.saw(late.total(), "an event that was late, and came twice or in the wrong order")
    assert (len(strange), late) == (2, {"ended": 4, "submitted": 4, "pending": 2})
    await stage.launcher.caught_up()
    return ids


@fault("the token of a command is over before its run starts", "accepted queued failed")
async def _(stage: Stage) -> list[str]:
    refused: list[int] = []
    gate = asyncio.Event()

    async def play(fleet: Fleet, command: Command) -> None:
        await gate.wait()
        refused.append((await insist(lambda: fleet.driver(command).report("started"))).status_code)

    stage.fleet.play = play
    (process_id,) = await stage.accept(1)
    await stage.launcher.command(process_id)
    await stage.sql.execute("UPDATE attempts SET start_before = clock_timestamp() - interval '1 s' WHERE process_id = $1", process_id)
    gate.set()

    async def told() -> bool:
        return bool(refused) and refused[0] in (401, 410)

    await eventually(told, 60, "the refusal of the late run")
    stage.saw(len(refused), f"a late start, answered {refused[0]}")
    return [process_id]


@fault("a run is heard of only after the time for which a token is good", CERTAIN.replace("running", "running( unwatched)?"), smoke=True)
async def _(stage: Stage) -> list[str]:
    answers: list[int] = []
    gate = asyncio.Event()

    async def play(fleet: Fleet, command: Command) -> None:
        driver = fleet.driver(command)
        await fleet.started(driver)
        await gate.wait()
        answers.append((await insist(driver.heartbeat)).status_code)
        answers.append((await fleet.finished(driver, await driver.make())).status_code)

    stage.fleet.play = play
    ids = await stage.accept(1)
    query = "SELECT count(*) = 1 FROM processes WHERE id = ANY($1::uuid[]) AND state = 'running'"
    await until(stage, query, ids, "a run")
    life = stage.installation.api_settings.run_token_seconds
    async with later(stage, 2 * life):
        gate.set()
        await stage.settled(ids)
    assert answers == [200, 200]
    stage.saw(2 * life, "seconds that nothing was heard")
    return ids
