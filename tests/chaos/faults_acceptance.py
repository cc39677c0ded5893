"""Chaos rows: from the acceptance to the broker."""

import asyncio

from contracts.command import Command
from tests.chaos.fleet import Fleet, whole
from tests.chaos.stage import Stage
from tests.chaos.table import COMMAND, COMMIT, fault, heard, sprung, until
from tests.control_plane.waiting import eventually


@fault("the broker is down at publish")
async def _(stage: Stage) -> list[str]:
    stage.wire("relay_kafka").refuse()
    ids = await stage.accept(3)
    query = "SELECT count(*) = 3 FROM outbox WHERE process_id = ANY($1::uuid[]) AND released_at IS NOT NULL AND published_at IS NULL"
    await until(stage, query, ids, "released messages that cannot leave")
    await heard(stage, stage.relay, "not delivered", "a message that was not delivered")
    stage.wire("relay_kafka").heal()
    return ids


@fault("the broker takes messages and its acknowledgements are lost, until the delivery times out")
async def _(stage: Stage) -> list[str]:
    wire = stage.wire("relay_kafka")
    trap = wire.trap(COMMAND, then=wire.lose_answers)
    ids = await stage.accept(2)
    await sprung(stage, trap, "commands taken by the broker")
    await heard(stage, stage.relay, "not delivered", "a message given up")
    stage.saw(wire.counters.swallowed, "bytes of acknowledgements lost")
    wire.heal()
    return ids


@fault("the relay is killed between the send and its mark", smoke=True)
async def _(stage: Stage) -> list[str]:
    sent_again = asyncio.Event()

    async def waits(fleet: Fleet, command: Command) -> None:
        await sent_again.wait()  # a run that began would be the relay's proof that the command has come
        await whole(fleet, command)

    stage.fleet.play = waits
    trap = stage.wire("relay_kafka").trap(COMMAND, "lose_answer", then=stage.relay.kill)
    ids = await stage.accept(2)
    await sprung(stage, trap, "kill at the trap")
    query = "SELECT count(*) FROM outbox WHERE process_id = ANY($1::uuid[]) AND published_at IS NULL"
    stage.saw(await stage.sql.fetchval(query, ids), "a message that was sent and not marked")
    await stage.relay.restart()

    async def twice() -> int:
        return sum(len(stage.launcher.commands(process_id)) == 2 for process_id in ids)

    stage.saw(await eventually(twice, 60, "a command that came twice"), "a process with two messages in the topic")
    sent_again.set()
    return ids


@fault("the relay is killed before the bytes leave")
async def _(stage: Stage) -> list[str]:
    trap = stage.wire("relay_kafka").trap(COMMAND, "cut", then=stage.relay.kill)
    ids = await stage.accept(2)
    await sprung(stage, trap, "kill at the trap")
    assert [stage.launcher.commands(process_id) for process_id in ids] == [[], []], "nothing has left"
    await stage.relay.restart()
    return ids


@fault("the relay's connections to the database are cut again and again")
async def _(stage: Stage) -> list[str]:
    wire, ids = stage.wire("relay_postgres"), []
    for place in range(5):
        ids += await stage.accept(1, first=place)
        wire.cut()
    stage.saw(wire.counters.cut, "a connection cut")
    await heard(stage, stage.relay, "lost the database", "the database lost")
    return ids


@fault("the database's answer to the COMMIT of an acceptance is lost", smoke=True)
async def _(stage: Stage) -> list[str]:
    trap = stage.wire("api_postgres").trap(COMMIT, "lose_answer")
    refused = await stage.caller.run(0, output_dataset="filtered-0")
    assert (trap.sprung, refused.status_code) == (1, 503), refused.text
    ids = await stage.accept(1)
    count = await stage.sql.fetchval("SELECT count(*) FROM processes WHERE tenant = $1", stage.caller.tenant)
    assert count == 1, "what was committed is found, and not made again"
    stage.saw(trap.sprung, "a COMMIT done whose answer was lost, and a 503")
    return ids


@fault("the database goes away before the COMMIT of an acceptance")
async def _(stage: Stage) -> list[str]:
    trap = stage.wire("api_postgres").trap(COMMIT, "cut")
    refused = await stage.caller.run(0, output_dataset="filtered-0")
    assert (trap.sprung, refused.status_code) == (1, 503), refused.text
    assert await stage.sql.fetchval("SELECT count(*) FROM processes WHERE tenant = $1", stage.caller.tenant) == 0
    stage.saw(trap.sprung, "a COMMIT lost, and a 503")
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
    # the other connection looks: what a transaction sees of other connections stays as it was at its first look
    async with stage.installation.sql() as watch, stage.sql.transaction():
        await stage.sql.execute("SELECT FROM processes WHERE id = $1 FOR UPDATE", process_id)
        path = f"/v1/processes/{process_id}/cancel"
        held = [asyncio.create_task(stage.caller.post(path)) for _ in range(4)]
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"

        async def all_wait() -> bool:
            return bool(await watch.fetchval(waiting) >= 4)

        await eventually(all_wait, 60, "four connections that wait")
        stage.saw(await watch.fetchval(waiting), "a connection that waits, of a pool of 4")
        refused = await stage.caller.get(f"/v1/processes/{process_id}")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
        for task in held:
            task.cancel()
        await asyncio.gather(*held, return_exceptions=True)
        backends = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        await watch.execute(backends)
    hold.set()
    return [process_id]
