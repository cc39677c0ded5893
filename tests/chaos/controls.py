"""Situations that one guard keeps from doing harm. Each is run with the guard and without it: see `test_guards.py`."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from unittest.mock import patch

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contracts.command import Command
from contracts.tokens import ISSUER
from control_plane import metrics, sealing
from tests.chaos.controls_sweeping import sweeper_beside_a_sealer, sweeper_of_an_empty_database
from tests.chaos.fleet import Fleet
from tests.chaos.stage import Stage, behind
from tests.chaos.table import MANIFEST
from tests.control_plane.installation import running
from tests.control_plane.waiting import eventually


@dataclass(frozen=True)
class Control:
    """`body` makes the situation and returns the processes; without the guards, the oracle says `condemned`."""

    guards: tuple[str, ...]
    condemned: str
    body: Callable[[Stage], Awaitable[list[str]]]
    patience: float = 15
    once: bool = False


async def second_pod(stage: Stage) -> list[str]:
    async def play(fleet: Fleet, command: Command) -> None:
        driver, twin = fleet.driver(command), fleet.driver(command)
        await fleet.started(driver)
        if (await fleet.started(twin)).is_success:
            await twin.make()
        await fleet.finished(driver, await driver.make())

    stage.fleet.play = play
    return await stage.accept(1)


async def forged_report(stage: Stage) -> list[str]:
    """A stranger who knows everything but the key, and one who says that no key is needed."""

    async def play(fleet: Fleet, command: Command) -> None:
        driver = fleet.driver(command)
        await fleet.started(driver)
        header = {"kid": jwt.get_unverified_header(driver.token)["kid"]}
        payload = {
            "iss": ISSUER, "aud": "stratum:run", "sub": str(command.process_id), "tenant": command.tenant, "step": command.step,
            "attempt": command.attempt, "run_id": driver.run_id, "exp": datetime.now(UTC) + timedelta(hours=1),
        }  # fmt: skip
        for key, algorithm in ((Ed25519PrivateKey.generate(), "EdDSA"), (None, "none")):
            forged = jwt.encode(payload, key, algorithm=algorithm, headers=header)
            answer = await driver.report("heartbeat", token=forged)
            if answer.is_success:
                fleet.ledger.intruders.append(f"a forged token ({algorithm}) was heard")
        await fleet.finished(driver, await driver.make())

    stage.fleet.play = play
    return await stage.accept(1)


async def broker_away(stage: Stage) -> list[str]:
    before = metrics.PUBLISH_ERRORS._value.get()
    stage.wire("relay_kafka").refuse()
    ids = await stage.accept(2)
    published = "SELECT count(*) = 2 FROM outbox WHERE process_id = ANY($1::uuid[]) AND published_at IS NOT NULL"

    async def tried() -> bool:
        return metrics.PUBLISH_ERRORS._value.get() > before or bool(await stage.sql.fetchval(published, ids))

    await eventually(tried, 60, "a try to publish")
    stage.wire("relay_kafka").heal()
    return ids


async def second_relay(stage: Stage) -> list[str]:
    stage.wire("relay_kafka").delay(0.3)  # so that one is sure to look while the other sends
    with running(behind(stage.installation, stage.network, "relay").relay()):
        ids = await stage.accept(5)
        await stage.settled(ids)
    return ids


async def second_sealer(stage: Stage) -> list[str]:
    """The first is held up just before its PUT, so long that its lease is over and another seals."""
    release = threading.Event()
    sealed = metrics.SEALS.labels("sealed")._value
    before = sealed.get()
    trap = stage.wire("reconcile_s3").trap(MANIFEST, then=lambda: release.wait(60) and None)
    try:
        (process_id,) = await stage.accept(1)
        await _sealed_by_another(stage, process_id, lambda: trap.taken == 1)
    finally:
        release.set()

    async def sealed_twice() -> bool:
        return sealed.get() >= before + 2

    await eventually(sealed_twice, 30, "the late PUT")
    return [process_id]


async def sealer_that_is_late_with_its_verdict(stage: Stage) -> list[str]:
    """It reads a proposal that was overwritten since, and finds it wrong, when the process has long succeeded."""
    release = threading.Event()
    # other guards of the same thing are out in any case: the database's own, and below the sealer's looks whether it is or may be sealed
    await stage.sql.execute("DROP TRIGGER final_is_final ON attempts")
    rejected = metrics.SEALS.labels("rejected")._value
    before = rejected.get()
    drivers = []

    async def play(fleet: Fleet, command: Command) -> None:
        driver = fleet.driver(command)
        drivers.append(driver)
        await fleet.started(driver)
        await fleet.finished(driver, await driver.make())

    async def judged() -> bool:
        return rejected.get() > before

    stage.fleet.play = play
    trap = stage.wire("reconcile_s3").trap(rb"GET /[^ ]+_proposal\.json", then=lambda: release.wait(60) and None)
    try:
        (process_id,) = await stage.accept(1)
        await _sealed_by_another(stage, process_id, lambda: trap.taken == 1)
        await drivers[0].propose(b"{}")
        with patch.object(sealing, "_sealed", lambda *_: []), patch.object(sealing, "_may_be_put", lambda *_: False):
            release.set()
            await eventually(judged, 30, "the late verdict")
    finally:
        release.set()
    return [process_id]


async def _sealed_by_another(stage: Stage, process_id: str, held: Callable[[], bool]) -> None:
    async def is_held() -> bool:
        return held()

    await eventually(is_held, 60, "a sealer that is held up")
    with running(stage.installation.reconcile()):
        await stage.sql.execute("UPDATE attempts SET seal_lease_until = NULL WHERE process_id = $1", process_id)
        query = "SELECT state = 'succeeded' FROM processes WHERE id = $1"
        await eventually(lambda: stage.sql.fetchval(query, process_id), 60, "the other's seal")


async def stale_relist(stage: Stage) -> list[str]:
    """A list of jobs that was begun before this one was made is read after its lease is over; the run lives."""
    gate = asyncio.Event()

    async def play(fleet: Fleet, command: Command) -> None:
        await fleet.launcher.say("submitted", command)
        driver = fleet.driver(command)
        await fleet.started(driver)
        if command.attempt == 1:
            fleet.ledger.alive.add((str(command.process_id), 1))
            await gate.wait()
        await fleet.finished(driver, await driver.make())

    stage.fleet.play = play
    (process_id,) = await stage.accept(1)
    began = await stage.sql.fetchval("SELECT clock_timestamp() - interval '1 hour'")
    known = "SELECT state = 'started' AND cluster IS NOT NULL FROM attempts WHERE process_id = $1 AND number = 1"
    await eventually(lambda: stage.sql.fetchval(known, process_id), 60, "a run whose cluster is known")
    await stage.sql.execute("UPDATE attempts SET lease_until = clock_timestamp() WHERE process_id = $1", process_id)
    await stage.launcher.relist(began)
    gate.set()
    return [process_id]


CONTROLS = {
    "a second pod": Control(("a run is granted what no other run has",), "was granted to 2 runs", second_pod),
    "a forged report": Control(("a signature must fit",), "a forged token", forged_report),
    "the broker is away": Control(("a message is marked when it was delivered",), "it has not ended", broker_away),
    "two relays": Control(("one relay leads",), "came 2 times", second_relay, once=True),
    "two sealers": Control(("a manifest is put create-only",), "is not the one that was registered", second_sealer),
    "a late verdict": Control(("an attempt only moves forward",), "its last attempt is failed", sealer_that_is_late_with_its_verdict),
    "an old list of jobs": Control(
        ("a list is asked for what ended before it", "a list speaks only of what ended before it"), "while its run lived", stale_relist
    ),
    "a sweeper beside a sealer": Control(("a folder that is being removed is not sealed",), "the manifest names", sweeper_beside_a_sealer),
    "a sweeper that knows nothing": Control(("what a manifest names is not removed",), "the manifest names", sweeper_of_an_empty_database),
}
