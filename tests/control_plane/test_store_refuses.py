"""A tenant's store that does not answer, or lets nobody in, keeps that tenant's runs waiting, and nobody else's; nothing is lost."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from botocore.exceptions import ClientError

from control_plane import proposals, unheard
from control_plane.errors import StorageRefused, StorageUnavailable
from control_plane.lifecycle import Current
from control_plane.reconciler import Reconciler
from control_plane.storage import Storage
from tests.control_plane.caller import Caller
from tests.control_plane.direct import Direct, directly
from tests.control_plane.driver import Driver
from tests.control_plane.installation import Installation
from tests.control_plane.launcher import Launcher
from tests.control_plane.steps import Steps

WAITS = "its job has ended; whether it left a result waits for the object store"


class Shut:
    """Runs whose folder nobody may look into."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.runs: set[str] = set()
        self.asked = 0
        self.trouble: StorageUnavailable = StorageRefused("the object store answered 403 AccessDenied")
        monkeypatch.setattr(proposals, "exists", self._exists)

    def _exists(self, storage: Storage, current: Current) -> bool:
        self.asked += 1
        if current.run_id in self.runs:
            raise self.trouble
        path = current.outputs[0]
        return storage.exists(path.root.bucket, path.proposal_key(str(current.run_id)))


@pytest.fixture
def shut(monkeypatch: pytest.MonkeyPatch) -> Shut:
    return Shut(monkeypatch)


@pytest_asyncio.fixture(loop_scope="session")
async def direct(still: Installation) -> AsyncIterator[Direct]:
    async with directly(still.but(retry_delay_seconds=0)) as direct:
        yield direct


async def _running(direct: Direct, number: int) -> Driver:
    command = await direct.command(number)
    await direct.say("submitted", command)
    return await direct.driver(command).started()


async def _process(direct: Direct, driver: Driver) -> dict[str, Any]:
    return await direct.caller.process(str(driver.command.process_id))


@pytest.mark.parametrize("status", [401, 403])
def test_an_answer_that_lets_nobody_in_is_told_apart(status: int, still: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = Storage(still.reconcile_settings)

    def refused(**_: Any) -> Any:
        answer: Any = {"Error": {"Code": "AccessDenied"}, "ResponseMetadata": {"HTTPStatusCode": status}}
        raise ClientError(answer, "HeadObject")

    monkeypatch.setattr(storage._client, "head_object", refused)
    with pytest.raises(StorageRefused, match=str(status)):
        storage.exists("bucket", "key")
    assert issubclass(StorageRefused, StorageUnavailable)


async def test_events_of_others_are_read_and_the_end_is_taken_up_again(
    steps: Steps, acme: Caller, launcher: Launcher, shut: Shut, sql: asyncpg.Connection
) -> None:
    driver, other = await steps.running(1), await steps.running(2)
    await driver.make()
    shut.runs.add(driver.run_id)
    await launcher.say("ended", driver.command)
    await launcher.say("ended", other.command, outcome="vanished")
    await launcher.caught_up()
    await acme.until_event(str(other.command.process_id), "retrying")
    waiting = await acme.process(str(driver.command.process_id))
    assert (waiting["state"], waiting["reason"]) == ("running", WAITS)
    shut.runs.clear()
    done = await acme.until(str(driver.command.process_id), "succeeded")
    assert [event["data"].get("witness") for event in await acme.events(done["id"]) if event["type"] == "sealing"] == ["proposal"]


async def test_how_the_job_ended_is_remembered(steps: Steps, acme: Caller, launcher: Launcher, shut: Shut) -> None:
    driver = await steps.running(1)
    shut.runs.add(driver.run_id)
    await launcher.say("ended", driver.command, outcome="out_of_memory", message="the driver ran out of memory")
    await launcher.caught_up()
    assert (await acme.process(str(driver.command.process_id)))["state"] == "running"
    shut.runs.clear()
    await acme.until_event(str(driver.command.process_id), "retrying")
    attempt = (await acme.process(str(driver.command.process_id)))["attempts"][0]
    assert (attempt["error_class"], attempt["reason"]) == ("OUT_OF_MEMORY", "the driver ran out of memory")


@pytest.mark.parametrize("made", [True, False])
async def test_an_end_that_a_reconciler_took_with_it_is_found_by_a_list(made: bool, direct: Direct, shut: Shut) -> None:
    """The launcher's news of the job was lost, too: where it was is known from its end."""
    driver = await direct.driver(await direct.command(1)).started()
    if made:
        await driver.make()
    shut.runs.add(driver.run_id)
    with pytest.raises(StorageRefused):
        await direct.say("ended", driver.command)
    shut.runs.clear()
    await direct.sql("UPDATE attempts SET lease_until = clock_timestamp()")
    await direct.relist()
    while await direct.seal():
        pass
    assert (await _process(direct, driver))["state"] == ("succeeded" if made else "accepted")


@pytest.mark.parametrize("trouble", [StorageRefused("403"), StorageUnavailable("no answer")])
async def test_a_list_goes_on_behind_a_run_whose_store_is_shut(trouble: StorageUnavailable, direct: Direct, shut: Shut) -> None:
    shut.trouble = trouble
    async with direct.installation.sql() as sql:
        another = await direct.installation.tenant(direct.client)
        await another.ingest()
        drivers = [await _running(direct, number) for number in (1, 2)]
        direct.caller, mine = another, direct.caller
        theirs = await _running(direct, 3)
        direct.caller = mine
        for driver in drivers:
            await driver.make()
        shut.runs = {driver.run_id for driver in drivers}
        await sql.execute("UPDATE attempts SET lease_until = clock_timestamp() WHERE state = 'started'")
        await direct.relist()
        assert (await another.process(str(theirs.command.process_id)))["state"] == "accepted"
        assert [(await _process(direct, driver))["state"] for driver in drivers] == ["running", "running"]
        assert shut.asked == (3 if isinstance(trouble, StorageRefused) else 2), "a store that does not answer is asked once a list"
        shut.runs.clear()
        await direct.relist()
        while await direct.seal():
            pass
        assert [(await _process(direct, driver))["state"] for driver in drivers] == ["succeeded", "succeeded"]


async def test_no_row_is_locked_while_the_store_is_asked(direct: Direct, shut: Shut, monkeypatch: pytest.MonkeyPatch) -> None:
    """A heartbeat, or the last report, goes through meanwhile; and what it changed is what counts."""
    driver = await _running(direct, 1)
    reference = await driver.make()
    answers = []

    async def slow(_: Reconciler, current: Current) -> bool:
        answers.append((await asyncio.wait_for(driver.finished(reference), 5)).json()["state"])
        return False

    monkeypatch.setattr(Reconciler, "has_proposal", slow)
    await direct.say("ended", driver.command)
    assert answers == ["sealing"]
    assert await direct.caller.history(str(driver.command.process_id)) == ["accepted", "queued", "submitted", "running", "sealing"]


async def test_a_run_that_is_granted_just_then_is_asked_after_too(direct: Direct, shut: Shut, monkeypatch: pytest.MonkeyPatch) -> None:
    """The news of the end is read between the look at the attempt and its lock; the run's reports came in just then."""
    command = await direct.command(1)
    await direct.say("submitted", command)
    driver = direct.driver(command)
    ask = unheard.ask

    async def then_granted(*arguments: Any) -> Any:
        result = await ask(*arguments)
        if driver.sequence == 0:
            await driver.started()
            await driver.make()
        return result

    monkeypatch.setattr(unheard, "ask", then_granted)
    await direct.say("ended", command)
    assert ((await _process(direct, driver))["state"], shut.asked) == ("sealing", 1)


async def test_a_seal_that_the_store_refuses_holds_up_no_other(direct: Direct, monkeypatch: pytest.MonkeyPatch) -> None:
    driver, other = await _running(direct, 1), await _running(direct, 2)
    for one in (driver, other):
        assert (await one.finished(await one.make())).status_code == 200
    working = proposals.checked

    def refused(storage: Storage, current: Current, limits: Any) -> Any:
        if current.run_id == driver.run_id:
            raise StorageRefused("the object store answered 403 AccessDenied")
        return working(storage, current, limits)

    with monkeypatch.context() as patched:
        patched.setattr(proposals, "checked", refused)
        while await direct.seal():
            pass
    waiting = await _process(direct, driver)
    assert (waiting["state"], waiting["reason"]) == ("sealing", "the files are complete; their seal waits for the object store")
    assert (await _process(direct, other))["state"] == "succeeded"
