"""Cancelling, in every state."""

import asyncio
from datetime import datetime

import asyncpg

from contracts.layout import StorageRoot
from control_plane.database import Database, queries
from tests.control_plane.caller import Caller
from tests.control_plane.driver import Driver
from tests.control_plane.installation import Installation, prepare_topics, running
from tests.control_plane.launcher import Launcher, following
from tests.control_plane.steps import Steps


async def _cancel(acme: Caller, process_id: object) -> str:
    answer = await acme.post(f"/v1/processes/{process_id}/cancel")
    assert answer.status_code == 202, answer.text
    return str(answer.json()["state"])


async def test_a_held_process_ends_at_once(platform: Installation, client: object, launcher: Launcher) -> None:
    small = await platform.tenant(client, max_in_flight=1)  # type: ignore[arg-type]
    await small.ingest()
    first, second = await small.accepted(1), await small.accepted(2)
    await launcher.command(first["id"])
    held = await small.process(second["id"])
    assert held["queue"] == {"place": held["queue"]["place"], "cause": "quota max_in_flight: 1 of 1 processes of the tenant are in flight"}
    assert await _cancel(small, second["id"]) == "cancelled"
    cancelled = await small.process(second["id"])
    assert (cancelled["queue"], cancelled["attempts"][0]["state"]) == (None, "cancelled")
    assert cancelled["ended_at"] is not None
    assert await small.history(second["id"]) == ["accepted", "cancelled"]
    assert launcher.cancels(second["id"]) == []
    assert (await small.run(3, output_dataset="filtered-2")).status_code == 202, "the name is free again"


async def test_a_queued_process_ends_when_the_launcher_says_there_is_no_job(steps: Steps, acme: Caller, launcher: Launcher) -> None:
    command = await steps.queued()
    assert await _cancel(acme, command.process_id) == "cancelling"
    cancel = await launcher.cancelled(str(command.process_id))
    claims = steps.installation.keys.verify(cancel.flow_token, "stratum:cancel", now=None)
    assert (claims.process_id, claims.attempt, claims.tenant) == (command.process_id, 1, acme.tenant)
    await launcher.say("ended", cancel, outcome="absent")
    await acme.until(str(command.process_id), "cancelled")
    assert await acme.history(str(command.process_id)) == ["accepted", "queued", "cancelling", "cancelled"]


async def test_a_submitted_process_ends_when_its_job_is_gone(steps: Steps, acme: Caller, launcher: Launcher) -> None:
    command = await steps.submitted()
    await _cancel(acme, command.process_id)
    await launcher.say("pending", command)
    await launcher.say("submitted", command)
    await launcher.caught_up()
    assert (await acme.process(str(command.process_id)))["state"] == "cancelling"
    await launcher.say("ended", command, outcome="killed")
    await acme.until(str(command.process_id), "cancelled")
    assert await acme.history(str(command.process_id)) == ["accepted", "queued", "submitted", "cancelling", "cancelled"]


async def test_a_running_process_ends_without_a_dataset_though_its_files_are_complete(
    steps: Steps, acme: Caller, launcher: Launcher, sql: asyncpg.Connection
) -> None:
    driver = await steps.running()
    reference = await driver.make()
    await _cancel(acme, driver.command.process_id)
    assert (await driver.finished(reference)).status_code == 410
    assert await sql.fetchval("SELECT count(*) FROM claims WHERE process_id = $1", driver.command.process_id) == 1, (
        "its job may still write"
    )
    await launcher.say("ended", driver.command, outcome="completed")
    cancelled = await acme.until(str(driver.command.process_id), "cancelled")
    assert (cancelled["reason"], cancelled["artifacts"]) == ("cancelled by the caller", [])
    assert await acme.history(cancelled["id"]) == ["accepted", "queued", "submitted", "running", "cancelling", "cancelled"]
    assert driver.manifest() is None
    assert await sql.fetchval("SELECT count(*) FROM claims WHERE process_id = $1", driver.command.process_id) == 0


async def test_a_list_without_the_job_ends_it_too(steps: Steps, acme: Caller, launcher: Launcher) -> None:
    async def now() -> datetime:
        return datetime.fromisoformat((await acme.ok("GET", "/v1/time"))["now"])

    driver = await steps.running()
    process_id = str(driver.command.process_id)
    before = await now()
    await _cancel(acme, process_id)
    await launcher.relist(before)
    await launcher.relist(await now(), driver.command)
    assert (await acme.process(process_id))["state"] == "cancelling", "an earlier list, and one with the job"
    await launcher.relist(await now())
    await acme.until(process_id, "cancelled")
    assert (await acme.history(process_id))[-2:] == ["cancelling", "cancelled"]


async def test_twice_is_once(steps: Steps, acme: Caller, launcher: Launcher) -> None:
    driver = await steps.running()
    process_id = str(driver.command.process_id)
    assert [await _cancel(acme, process_id) for _ in range(2)] == ["cancelling", "cancelling"]
    await launcher.say("ended", driver.command, outcome="killed")
    await acme.until(process_id, "cancelled")
    assert await _cancel(acme, process_id) == "cancelled"
    await launcher.say("ended", driver.command, outcome="killed")
    await launcher.caught_up()
    assert await acme.history(process_id) == ["accepted", "queued", "submitted", "running", "cancelling", "cancelled"]
    assert len(launcher.cancels(process_id)) == 1


async def test_between_two_attempts_it_ends_at_once(still: Installation) -> None:
    later = still.but(retry_delay_seconds=3600)
    prepare_topics(later)
    with following(later) as launcher, running(later.relay()):
        async with later.api() as client:
            acme = await later.tenant(client)
            await acme.ingest()
            command = await launcher.command((await acme.accepted(1))["id"])
            await (await Driver(client, later, command).started()).failed(retryable=True)
            assert await _cancel(acme, command.process_id) == "cancelled"
            process = await acme.process(str(command.process_id))
            assert [a["state"] for a in process["attempts"]] == ["failed", "cancelled"]
            assert await acme.history(process["id"]) == ["accepted", "queued", "running", "retrying", "cancelled"]


async def test_what_is_being_sealed_or_over_cannot_be_cancelled(still: Installation) -> None:
    prepare_topics(still)
    with following(still) as launcher:
        async with still.api() as client:
            acme = await still.tenant(client)
            await acme.ingest()
            with running(still.relay()):
                command = await launcher.command((await acme.accepted(1))["id"])
            path = f"/v1/processes/{command.process_id}/cancel"
            await Driver(client, still, command).complete()
            sealing = await acme.post(path)
            assert (sealing.status_code, sealing.json()["type"]) == (409, "urn:stratum:problem:conflict")
            with running(still.reconcile()):
                await acme.until(str(command.process_id), "succeeded")
            assert (await acme.post(path)).status_code == 409
            assert await acme.history(str(command.process_id)) == ["accepted", "queued", "running", "sealing", "succeeded"]


async def test_of_a_cancel_and_a_last_report_at_once_one_comes_first(steps: Steps, acme: Caller, launcher: Launcher) -> None:
    for number in range(6):
        driver = await steps.running(number)
        reference, process_id = await driver.make(), str(driver.command.process_id)
        cancelled, finished = await asyncio.gather(acme.post(f"/v1/processes/{process_id}/cancel"), driver.finished(reference))
        assert (cancelled.status_code, finished.status_code) in ((202, 410), (409, 200))
        await launcher.say("ended", driver.command)
        await acme.until(process_id, "cancelled" if cancelled.status_code == 202 else "succeeded")
        assert (driver.manifest() is None) is (cancelled.status_code == 202)


async def test_a_failed_process_cannot_be_cancelled(steps: Steps, acme: Caller) -> None:
    driver = await steps.running()
    await driver.failed(retryable=False)
    assert (await acme.post(f"/v1/processes/{driver.command.process_id}/cancel")).status_code == 409


async def test_a_cancel_that_overtakes_its_command(still: Installation) -> None:
    """Cancelled between its release and its publication: the command is never sent, the cancel is."""
    prepare_topics(still)
    database = Database(still.relay_settings)
    with following(still) as launcher:
        async with still.api() as client:
            acme = await still.tenant(client)
            await acme.ingest()
            process_id = (await acme.accepted(1))["id"]
            async with database.connection() as connection:
                assert await queries.release(connection, max_in_flight=10) == 1
            await database.close()
            assert await _cancel(acme, process_id) == "cancelling"
            with running(still.relay(), still.reconcile()):
                cancel = await launcher.cancelled(process_id)
                await launcher.say("ended", cancel, outcome="absent")
                await acme.until(process_id, "cancelled")
            assert launcher.commands(process_id) == []
            assert await acme.history(process_id) == ["accepted", "queued", "cancelling", "cancelled"]


async def test_a_job_made_after_its_cancel_gets_no_grant(steps: Steps, acme: Caller, launcher: Launcher) -> None:
    """The launcher read the cancel first and found no job; then it read the command."""
    command = await steps.queued()
    process_id = str(command.process_id)
    await _cancel(acme, process_id)
    await launcher.say("ended", await launcher.cancelled(process_id), outcome="absent")
    await acme.until(process_id, "cancelled")
    await launcher.say("submitted", command)
    late = steps.driver(command)
    assert (await late.report("started")).status_code == 410
    await launcher.say("ended", command, outcome="failed")
    await launcher.caught_up()
    assert await acme.history(process_id) == ["accepted", "queued", "cancelling", "cancelled"]
    root = StorageRoot.parse(command.storage_root)
    assert late.store.list_objects_v2(Bucket=root.bucket, Prefix=late.path.prefix).get("KeyCount", 0) == 0
