"""A run that proposed its result is not given up, however long nothing is heard of it: the store is asked before its time is over."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from contracts.command import CancelCommand
from control_plane.deadlines import tell_unwatched
from control_plane.errors import StorageRefused, StorageUnavailable
from control_plane.lifecycle import Current
from control_plane.reconciler import Reconciler
from tests.control_plane.direct import Direct, directly
from tests.control_plane.driver import Driver
from tests.control_plane.installation import Installation

OVERDUE = """UPDATE attempts SET deadline = clock_timestamp() - interval '61 seconds', lease_until = clock_timestamp() - interval '2 hours'
    WHERE state = 'started'"""
SILENT = "UPDATE attempts SET lease_until = clock_timestamp() WHERE state = 'started'"
LONG_SILENT = "UPDATE attempts SET silent_since = clock_timestamp() - interval '1 day' WHERE state = 'started'"


@pytest_asyncio.fixture(loop_scope="session")
async def direct(still: Installation) -> AsyncIterator[Direct]:
    async with directly(still.but(retry_delay_seconds=0)) as direct:
        yield direct


class Shut:
    """Runs whose folder nobody may look into."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.runs: set[str] = set()
        self.asked = 0
        self.trouble: StorageUnavailable = StorageUnavailable("no answer")
        working = Reconciler.has_proposal

        async def has_proposal(reconciler: Reconciler, current: Current) -> bool:
            self.asked += 1
            if current.run_id in self.runs:
                raise self.trouble
            return await working(reconciler, current)

        monkeypatch.setattr(Reconciler, "has_proposal", has_proposal)


@pytest.fixture
def shut(monkeypatch: pytest.MonkeyPatch) -> Shut:
    return Shut(monkeypatch)


async def _running(direct: Direct, number: int = 1) -> Driver:
    command = await direct.command(number)
    await direct.say("submitted", command)
    return await direct.driver(command).started()


async def _process(direct: Direct, driver: Driver) -> dict[str, Any]:
    return await direct.caller.process(str(driver.command.process_id))


async def _stalls(direct: Direct, driver: Driver) -> None:
    """It has been silent for long, though its job is there; the next list decides."""
    await direct.sql(SILENT)
    await direct.relist(driver.command)
    await direct.sql(LONG_SILENT)


async def _sealed(direct: Direct, driver: Driver) -> None:
    """It is, for its proposal's sake; and nobody was told to end its job."""
    while await direct.seal():
        pass
    assert (await _process(direct, driver))["state"] == "succeeded"
    events = await direct.caller.events(str(driver.command.process_id))
    assert [event["data"]["witness"] for event in events if event["type"] == "sealing"] == ["proposal"]
    assert [message for message in await direct.publish() if isinstance(message, CancelCommand)] == []


async def test_one_that_is_over_its_time_limit(direct: Direct) -> None:
    driver, idle = await _running(direct, 1), await _running(direct, 2)
    await driver.make()
    await direct.sql(OVERDUE)
    await tell_unwatched(direct.reconciler)
    assert "goes on as soon as either can" in (await _process(direct, driver))["reason"]
    await direct.deadlines()
    assert (await _process(direct, idle))["attempts"][0]["error_class"] == "TIME_LIMIT"
    await direct.publish()
    await _sealed(direct, driver)


async def test_one_that_has_stalled(direct: Direct) -> None:
    driver = await _running(direct)
    await driver.make()
    await _stalls(direct, driver)
    assert (await _process(direct, driver))["state"] == "running"
    await direct.relist(driver.command)
    await _sealed(direct, driver)


async def test_a_report_that_comes_while_the_store_is_asked_goes_through(direct: Direct, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = await _running(direct)
    reference = await driver.make()
    answers = []

    async def slow(_: Reconciler, current: Current) -> bool:
        answers.append((await asyncio.wait_for(driver.finished(reference), 30)).json()["state"])
        return False

    monkeypatch.setattr(Reconciler, "has_proposal", slow)
    await direct.sql(OVERDUE)
    await direct.deadlines()
    assert answers == ["sealing"]
    assert (await _process(direct, driver))["state"] == "sealing"


@pytest.mark.parametrize("trouble", [StorageRefused("403"), StorageUnavailable("no answer")])
async def test_a_store_that_cannot_be_asked_delays_its_own_tenants_runs_alone(
    trouble: StorageUnavailable, direct: Direct, shut: Shut
) -> None:
    drivers = [await _running(direct, number) for number in (1, 2)]
    waiting = await direct.command(3)
    mine, direct.caller = direct.caller, await direct.installation.tenant(direct.client)
    await direct.caller.ingest()
    theirs = await _running(direct, 4)
    others, direct.caller = direct.caller, mine
    for driver in drivers:
        await driver.make()
    shut.runs, shut.trouble = {driver.run_id for driver in drivers}, trouble
    await direct.sql(OVERDUE)
    await direct.sql("UPDATE attempts SET start_before = clock_timestamp() WHERE process_id = $1", waiting.process_id)
    with pytest.raises(type(trouble)):
        await direct.deadlines()
    assert (await others.process(str(theirs.command.process_id)))["attempts"][0]["error_class"] == "TIME_LIMIT"
    assert (await mine.process(str(waiting.process_id)))["attempts"][0]["error_class"] == "START_DEADLINE"
    assert [(await _process(direct, driver))["state"] for driver in drivers] == ["running", "running"]
    assert shut.asked == (3 if isinstance(trouble, StorageRefused) else 2), "a store that does not answer is asked once a turn"
    shut.runs.clear()
    await direct.deadlines()
    assert [(await _process(direct, driver))["state"] for driver in drivers] == ["sealing", "sealing"]


async def test_one_that_has_stalled_waits_for_the_store(direct: Direct, shut: Shut) -> None:
    driver = await _running(direct)
    await driver.make()
    await _stalls(direct, driver)
    shut.runs.add(driver.run_id)
    await direct.relist(driver.command)
    assert (await _process(direct, driver))["state"] == "running"
    shut.runs.clear()
    await direct.relist(driver.command)
    await _sealed(direct, driver)


async def test_a_heartbeat_that_comes_while_the_store_is_asked_ends_the_silence(direct: Direct, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = await _running(direct)
    await _stalls(direct, driver)

    async def slow(_: Reconciler, current: Current) -> bool:
        await asyncio.wait_for(driver.heartbeat(), 30)
        return False

    monkeypatch.setattr(Reconciler, "has_proposal", slow)
    await direct.relist(driver.command)
    assert (await _process(direct, driver))["state"] == "running"
