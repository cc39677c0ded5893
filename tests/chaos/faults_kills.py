"""Chaos rows: roles of the control plane are killed, and asked to end, while there is work."""

import asyncio
import signal
from collections import Counter

import httpx

from stratum.local.ports import choose_port
from tests.chaos.histories import WHOLE
from tests.chaos.parts import Part
from tests.chaos.stage import Stage, behind, ended
from tests.chaos.table import fault
from tests.chaos.wire import HOST
from tests.control_plane.receiver import OK, receiving
from tests.control_plane.waiting import eventually

TURNS = (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL, signal.SIGTERM)
PROCESSES = 3
"""Accepted a turn."""


async def strike(stage: Stage, sent: signal.Signals, *parts: Part) -> None:
    """Send each part the signal, wait for its end and start it again."""
    for part in parts:
        code = await asyncio.to_thread(part.kill if sent == signal.SIGKILL else part.terminate)
        # a role that is asked to end before it has begun to listen for that ends by the signal itself
        assert code in (0, -sent)
        stage.saw(1, f"{sent.name} of {part.role}")
    for part in parts:
        await part.restart()


@fault("SIGKILL and SIGTERM of relay and reconciler under load")
async def _(stage: Stage) -> list[str]:
    ids: list[str] = []
    for turn, sent in enumerate(TURNS):
        ids += await stage.accept(PROCESSES, first=PROCESSES * turn)
        await strike(stage, sent, stage.relay, stage.reconcile)
    return ids


@fault("SIGKILL and SIGTERM of the API under load")
async def _(stage: Stage) -> list[str]:
    port, ids = choose_port(set()), []
    environment = {**behind(stage.installation, stage.network, "api").environment, "STRATUM_HTTP_PORT": str(port)}
    api = Part("api", environment, stage.folder / "killed-api.log")
    usual = stage.caller.client
    with ended(api), stage.wire("run_api").leading_to(HOST, port):
        await api.restart()
        async with httpx.AsyncClient(base_url=f"http://{HOST}:{port}", timeout=30) as stage.caller.client:

            async def answers() -> bool:
                try:
                    return (await stage.caller.get("/v1/processes")).is_success
                except httpx.TransportError:
                    return False

            for turn, sent in enumerate(TURNS):
                await eventually(answers, 60, "an API that answers")
                load = asyncio.create_task(stage.accept(PROCESSES, first=PROCESSES * turn))
                await asyncio.sleep(0)
                await strike(stage, sent, api)
                ids += await load
            await stage.settled(ids)
        stage.caller.client = usual
    return ids


@fault("SIGKILL and SIGTERM of webhooks while a receiver has not answered", f"{WHOLE} webhook_delivered")
async def _(stage: Stage) -> list[str]:
    environment = {**stage.installation.environment, "STRATUM_WEBHOOK_POLL_SECONDS": "0.05", "STRATUM_WEBHOOK_TOTAL_SECONDS": "5"}
    webhooks = Part("webhooks", environment, stage.folder / "webhooks.log")
    asked, may_answer = asyncio.Event(), asyncio.Event()

    async def slowly(writer: asyncio.StreamWriter) -> None:
        asked.set()
        await may_answer.wait()
        writer.write(OK)

    ids: list[str] = []
    async with receiving() as receiver:
        receiver.answers = [slowly]
        with ended(webhooks):
            await webhooks.restart()
            for turn, sent in enumerate(TURNS):
                ids += await stage.accept(1, first=turn, callback_url=receiver.url())
                await asyncio.wait_for(asked.wait(), 60)
                await strike(stage, sent, webhooks)
                asked.clear()
            may_answer.set()

            async def all_told() -> bool:
                told = "SELECT count(*) FROM events WHERE process_id = ANY($1::uuid[]) AND type = 'webhook_delivered'"
                return bool(await stage.sql.fetchval(told, ids) == len(ids))

            await eventually(all_told, 120, "a delivery of every end")
        told = Counter(received.document["data"]["id"] for received in receiver.received)
        assert told.keys() == set(ids)
        stage.saw(sum(times > 1 for times in told.values()), "an end that was told again")
    return ids
