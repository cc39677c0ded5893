"""Chaos rows: the reconciler, the store and the database; and everything at once."""

from contracts.command import Command
from tests.chaos.fleet import Fleet
from tests.chaos.histories import CERTAIN, WHOLE_WITHOUT_STORE
from tests.chaos.stage import Stage
from tests.chaos.table import COMMIT, MANIFEST, fault, heard, sprung, until
from tests.chaos.traps import http_answer
from tests.control_plane.waiting import eventually


@fault("the reconciler is killed between the manifest and the commit", smoke=True)
async def _(stage: Stage) -> list[str]:
    trap = stage.wire("reconcile_s3").trap(MANIFEST, "lose_answer", then=stage.reconcile.kill)
    ids = await stage.accept(1)
    await sprung(stage, trap, "kill at the trap")
    assert await stage.sql.fetchval("SELECT state FROM processes WHERE id = $1", ids[0]) == "sealing"
    await stage.reconcile.restart()
    return ids


@fault("the answer to the manifest's PUT is lost", WHOLE_WITHOUT_STORE)
async def _(stage: Stage) -> list[str]:
    trap = stage.wire("reconcile_s3").trap(MANIFEST, "lose_answer", times=2)
    ids = await stage.accept(1)
    await sprung(stage, trap, "a manifest put whose answer was lost")
    return ids


@fault("the database's answer to the COMMIT of a seal is lost")
async def _(stage: Stage) -> list[str]:
    wire = stage.wire("reconcile_postgres")
    traps = []
    put = stage.wire("reconcile_s3").trap(MANIFEST, then=lambda: traps.append(wire.trap(COMMIT, "lose_answer")))
    ids = await stage.accept(1)
    await sprung(stage, put, "a manifest put")
    await sprung(stage, traps[0], "a COMMIT done whose answer was lost")
    return ids


@fault("the store answers 500, 503 and 507", WHOLE_WITHOUT_STORE, smoke=True)
async def _(stage: Stage) -> list[str]:
    wire = stage.wire("reconcile_s3")
    answers = ((500, "Internal Server Error"), (503, "Slow Down"), (507, "Insufficient Storage"))
    traps = [wire.trap(MANIFEST, answer=http_answer(*answer), times=2) for answer in answers]
    ids = await stage.accept(2)
    await stage.settled(ids)
    assert [trap.sprung for trap in traps] == [2, 2, 2]
    stage.saw(6, "an answer of 500, 503 or 507 to the manifest's PUT")
    return ids


@fault("the store is away while seals wait", WHOLE_WITHOUT_STORE)
async def _(stage: Stage) -> list[str]:
    stage.wire("reconcile_s3").refuse()
    ids = await stage.accept(2)
    query = "SELECT count(DISTINCT process_id) > 0 FROM events WHERE process_id = ANY($1::uuid[]) AND type = 'waiting'"
    await until(stage, query, ids, "a process that says what its seal waits for")
    stage.saw(
        await stage.sql.fetchval("SELECT count(*) FROM events WHERE process_id = ANY($1::uuid[]) AND type = 'waiting'", ids), "a wait told"
    )
    stage.wire("reconcile_s3").heal()
    return ids


@fault("store and database are slow")
async def _(stage: Stage) -> list[str]:
    wires = [stage.wire(name) for name in ("reconcile_s3", "reconcile_postgres", "relay_postgres", "api_postgres")]
    for wire in wires:
        wire.delay(0.1)
    ids = await stage.accept(3)
    await stage.settled(ids)
    for wire in wires:
        stage.saw(wire.counters.delayed, f"a piece held up on {wire.name}")
    return ids


@fault("the reconciler is cut off from the database while events come")
async def _(stage: Stage) -> list[str]:
    wire = stage.wire("reconcile_postgres")
    wire.refuse()
    ids = await stage.accept(3)
    query = "SELECT count(*) = 3 FROM processes WHERE id = ANY($1::uuid[]) AND state = 'sealing'"
    await until(stage, query, ids, "three seals that nobody can make")
    await heard(stage, stage.reconcile, "waiting", "work that waits for the database")
    wire.heal()
    return ids


@fault("the reconciler is cut off from the broker", CERTAIN)
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
    await until(stage, query, ids, "two runs of which only events tell the end")

    async def ends() -> bool:
        return len(stage.launcher.events(*ids)) == 2

    await eventually(ends, 60, "two ends in the topic")
    stage.saw(len(stage.launcher.events(*ids)), "an end that lies in the topic and is not heard")
    assert await stage.sql.fetchval(query, ids)
    wire.heal()
    return ids


@fault("connections break in the middle of a message, everywhere", WHOLE_WITHOUT_STORE)
async def _(stage: Stage) -> list[str]:
    wires = stage.network.wires.values()
    for wire in wires:
        wire.cut_after(20_000)
        wire.cut()
    ids = await stage.accept(6)
    await stage.settled(ids)

    async def broken() -> bool:
        return sum(wire.counters.cut_short for wire in wires) >= 6

    await eventually(broken, 60, "six connections that broke in the middle of a message")
    for wire in wires:
        if wire.counters.cut_short:
            stage.saw(wire.counters.cut_short, f"a connection of {wire.name} that broke in the middle of a message")
    return ids
