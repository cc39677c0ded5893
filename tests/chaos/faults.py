"""The chaos table. A row: a fault, the evidence that it was there, and the history that its processes must have all the same.

`inject` is handed the stage before anything is accepted, and returns what must be true afterwards, beside the oracle: the evidence.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from contracts.command import Command
from tests.chaos.fleet import Fleet, insist, whole
from tests.chaos.stage import Stage
from tests.chaos.wire import http_answer
from tests.control_plane.waiting import eventually

WHOLE = ("accepted", "queued", "running", "sealing", "succeeded")
RETRIED = ("accepted", "queued", "running", "retrying", "queued", "running", "sealing", "succeeded")

COMMAND = rb'"kind":"run"'
COMMIT = rb"COMMIT;"
MANIFEST = rb"PUT /[^ ]+_manifest\.json"

Body = Callable[[Stage], Awaitable[list[str]]]


@dataclass(frozen=True)
class Fault:
    """`body` accepts the processes, breaks something, asserts that it was broken, and returns the ids of the processes."""

    name: str
    body: Body
    history: tuple[str, ...] = WHOLE
    smoke: bool = False


FAULTS: dict[str, Fault] = {}


def fault(name: str, history: tuple[str, ...] = WHOLE, *, smoke: bool = False) -> Callable[[Body], Body]:
    """Add a row."""

    def add(body: Body) -> Body:
        FAULTS[name] = Fault(name, body, history, smoke)
        return body

    return add


async def _sprung(trap: Any, times: int = 1) -> None:
    async def look() -> bool:
        return trap.sprung >= times

    await eventually(look, 60, f"the trap {trap.pattern.pattern!r}")


async def _until(stage: Stage, query: str, ids: list[str], what: str) -> None:
    await eventually(lambda: stage.sql.fetchval(query, ids), 60, what)


# -- relay and broker ----------------------------------------------------------------------------------------------------------


@fault("the broker is down at publish")
async def _(stage: Stage) -> list[str]:
    stage.wire("relay_kafka").refuse()
    ids = await stage.accept(3)
    query = "SELECT count(*) = 3 FROM outbox WHERE process_id = ANY($1::uuid[]) AND released_at IS NOT NULL AND published_at IS NULL"
    await _until(stage, query, ids, "released messages that cannot leave")
    stage.wire("relay_kafka").heal()
    return ids


@fault("the broker takes messages and its acknowledgements are lost, until the delivery times out")
async def _(stage: Stage) -> list[str]:
    wire = stage.wire("relay_kafka")
    trap = wire.trap(COMMAND, then=wire.lose_answers)
    ids = await stage.accept(2)
    await _sprung(trap)
    before = wire.counters.connections

    async def given_up() -> bool:
        return wire.counters.connections > before and wire.counters.swallowed > 0

    await eventually(given_up, 60, "a producer that gives its connection up")
    wire.heal()
    return ids


@fault("the relay is killed between the send and its mark", smoke=True)
async def _(stage: Stage) -> list[str]:
    trap = stage.wire("relay_kafka").trap(COMMAND, "lose_answer", then=stage.relay.kill)
    ids = await stage.accept(2)
    await _sprung(trap)
    query = "SELECT count(*) > 0 FROM outbox WHERE process_id = ANY($1::uuid[]) AND published_at IS NULL"
    assert await stage.sql.fetchval(query, ids), "a message that was sent is not marked"
    await stage.relay.restart()
    return ids


@fault("the relay is killed before the bytes leave")
async def _(stage: Stage) -> list[str]:
    trap = stage.wire("relay_kafka").trap(COMMAND, "cut", then=stage.relay.kill)
    ids = await stage.accept(2)
    await _sprung(trap)
    await stage.relay.restart()
    return ids


@fault("the relay's connections to the database are cut again and again")
async def _(stage: Stage) -> list[str]:
    wire, ids = stage.wire("relay_postgres"), []
    for place in range(5):
        ids += await stage.accept(1, first=place)
        wire.cut()
    assert wire.counters.cut >= 1
    return ids


# -- acceptance ----------------------------------------------------------------------------------------------------------------


@fault("the database's answer to the COMMIT of an acceptance is lost", smoke=True)
async def _(stage: Stage) -> list[str]:
    trap = stage.wire("api_postgres").trap(COMMIT, "lose_answer")
    refused = await stage.caller.run(0, output_dataset="filtered-0")
    assert (trap.sprung, refused.status_code) == (1, 503), refused.text
    ids = await stage.accept(1)
    count = await stage.sql.fetchval("SELECT count(*) FROM processes WHERE tenant = $1", stage.caller.tenant)
    assert count == 1, "what was committed is found, and not made again"
    return ids


@fault("the database goes away before the COMMIT of an acceptance")
async def _(stage: Stage) -> list[str]:
    trap = stage.wire("api_postgres").trap(COMMIT, "cut")
    refused = await stage.caller.run(0, output_dataset="filtered-0")
    assert (trap.sprung, refused.status_code) == (1, 503), refused.text
    assert await stage.sql.fetchval("SELECT count(*) FROM processes WHERE tenant = $1", stage.caller.tenant) == 0
    return await stage.accept(1)


@fault("the API's pool is exhausted")
async def _(stage: Stage) -> list[str]:
    hold = asyncio.Event()

    async def holds(fleet: Fleet, command: Command) -> None:
        await hold.wait()
        await whole(fleet, command)

    stage.fleet.play = holds
    (process_id,) = await stage.accept(1)
    await stage.launcher.command(process_id)
    async with stage.sql.transaction():
        await stage.sql.execute("SELECT FROM processes WHERE id = $1 FOR UPDATE", process_id)
        path = f"/v1/processes/{process_id}/cancel"
        held = [asyncio.create_task(stage.caller.post(path)) for _ in range(4)]
        waiting = "SELECT count(*) >= 4 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        await eventually(lambda: stage.sql.fetchval(waiting), 60, "four connections that wait")
        refused = await stage.caller.get(f"/v1/processes/{process_id}")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
        for task in held:
            task.cancel()
        await asyncio.gather(*held, return_exceptions=True)
        backends = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        await stage.sql.execute(backends)
    hold.set()
    return [process_id]


# -- reports of runs -----------------------------------------------------------------------------------------------------------


@fault("the answer to `started` is lost", smoke=True)
async def _(stage: Stage) -> list[str]:
    return await _report_answer_lost(stage, "started")


@fault("the answer to `finished` is lost")
async def _(stage: Stage) -> list[str]:
    return await _report_answer_lost(stage, "finished")


async def _report_answer_lost(stage: Stage, kind: str) -> list[str]:
    trap = stage.wire("run_api").trap(rf'"type": ?"{kind}"', "lose_answer")
    ids = await stage.accept(1)
    await _sprung(trap)
    return ids


@fault("the database's answer to the COMMIT of a last report is lost")
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
    return await stage.accept(2)


@fault("a second pod of the same attempt", smoke=True)
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
    return ids


@fault("a run of an attempt that was given up goes on, writes and reports", RETRIED)
async def _(stage: Stage) -> list[str]:
    zombies: list[int] = []

    async def play(fleet: Fleet, command: Command) -> None:
        driver = fleet.driver(command)
        await fleet.started(driver)
        if command.attempt == 1:
            await fleet.launcher.say("ended", command, outcome="vanished")
            query = "SELECT count(*) = 1 FROM processes WHERE id = ANY($1::uuid[]) AND state = 'succeeded'"
            await _until(stage, query, [str(command.process_id)], "the second attempt's success")
            zombies.append((await driver.finished(await driver.make())).status_code)
        else:
            await fleet.finished(driver, await driver.make())

    stage.fleet.play = play
    ids = await stage.accept(1)

    async def refused() -> bool:
        return zombies == [410]

    await eventually(refused, 60, "the refusal of the late run")
    return ids


# -- messages ------------------------------------------------------------------------------------------------------------------


@fault("events twice, in the wrong order, late, of others, unreadable and too long", smoke=True)
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

    stage.fleet.play = play
    ids = await stage.accept(2)
    letters = stage.launcher.received[stage.launcher.topics.dlq(stage.launcher.topics.events)]

    async def buried() -> bool:
        return len(letters) >= 10

    await eventually(buried, 60, "the dead letters")
    return ids


# -- reconciler, store and database ----------------------------------------------------------------------------------------------


@fault("the reconciler is killed between the manifest and the commit", smoke=True)
async def _(stage: Stage) -> list[str]:
    trap = stage.wire("reconcile_s3").trap(MANIFEST, "lose_answer", then=stage.reconcile.kill)
    ids = await stage.accept(1)
    await _sprung(trap)
    assert await stage.sql.fetchval("SELECT state FROM processes WHERE id = $1", ids[0]) == "sealing"
    await stage.reconcile.restart()
    return ids


@fault("the answer to the manifest's PUT is lost")
async def _(stage: Stage) -> list[str]:
    trap = stage.wire("reconcile_s3").trap(MANIFEST, "lose_answer", times=2)
    ids = await stage.accept(1)
    await _sprung(trap)
    return ids


@fault("the database's answer to the COMMIT of a seal is lost")
async def _(stage: Stage) -> list[str]:
    wire = stage.wire("reconcile_postgres")
    traps = []
    put = stage.wire("reconcile_s3").trap(MANIFEST, then=lambda: traps.append(wire.trap(COMMIT, "lose_answer")))
    ids = await stage.accept(1)
    await _sprung(put)
    await _sprung(traps[0])
    return ids


@fault("the store answers 500, 503 and 507", smoke=True)
async def _(stage: Stage) -> list[str]:
    wire = stage.wire("reconcile_s3")
    answers = ((500, "Internal Server Error"), (503, "Slow Down"), (507, "Insufficient Storage"))
    traps = [wire.trap(MANIFEST, answer=http_answer(*answer), times=2) for answer in answers]
    ids = await stage.accept(2)
    await stage.settled(ids)
    assert [trap.sprung for trap in traps] == [2, 2, 2]
    return ids


@fault("the store is away while seals wait")
async def _(stage: Stage) -> list[str]:
    stage.wire("reconcile_s3").refuse()
    ids = await stage.accept(2)
    query = "SELECT count(DISTINCT process_id) > 0 FROM events WHERE process_id = ANY($1::uuid[]) AND type = 'waiting'"
    await _until(stage, query, ids, "a process that says what its seal waits for")
    stage.wire("reconcile_s3").heal()
    return ids


@fault("store and database are slow")
async def _(stage: Stage) -> list[str]:
    for name in ("reconcile_s3", "reconcile_postgres", "relay_postgres", "api_postgres"):
        stage.wire(name).delay(0.1)
    ids = await stage.accept(3)
    await stage.settled(ids)
    return ids


@fault("the reconciler is cut off from the database while events come")
async def _(stage: Stage) -> list[str]:
    wire = stage.wire("reconcile_postgres")
    wire.refuse()
    ids = await stage.accept(3)
    query = "SELECT count(*) = 3 FROM processes WHERE id = ANY($1::uuid[]) AND state = 'sealing'"
    await _until(stage, query, ids, "three seals that nobody can make")
    wire.heal()
    return ids


@fault("the reconciler is cut off from the broker")
async def _(stage: Stage) -> list[str]:
    wire = stage.wire("reconcile_kafka")
    wire.refuse()

    async def play(fleet: Fleet, command: Command) -> None:
        driver = fleet.driver(command)
        await fleet.started(driver)
        await driver.make()
        await fleet.launcher.say("ended", command)

    stage.fleet.play = play
    ids = await stage.accept(2)
    query = "SELECT count(*) = 2 FROM processes WHERE id = ANY($1::uuid[]) AND state = 'running'"
    await _until(stage, query, ids, "two runs of which only events tell the end")
    wire.heal()
    return ids


@fault("connections break in the middle of a message, everywhere")
async def _(stage: Stage) -> list[str]:
    for wire in stage.network.wires.values():
        wire.cut_after(60_000)
        wire.cut()
    ids = await stage.accept(6)
    await stage.settled(ids)
    assert sum(wire.counters.cut for wire in stage.network.wires.values()) >= 6
    return ids


@fault("SIGKILL and SIGTERM of relay and reconciler under load")
async def _(stage: Stage) -> list[str]:
    ids: list[str] = []
    for turn in range(4):
        ids += await stage.accept(3, first=3 * turn)
        for part in (stage.relay, stage.reconcile):
            if turn % 2:
                assert await asyncio.to_thread(part.terminate) == 0, f"{part.role} ends when it is asked to"
            else:
                await asyncio.to_thread(part.kill)
        for part in (stage.relay, stage.reconcile):
            await part.restart()
    return ids


# -- time ----------------------------------------------------------------------------------------------------------------------


@fault("the token of a command is over before its run starts", ("accepted", "queued", "failed"))
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
    return [process_id]
