"""A run's report and the end of its time come at once: whichever is first decides, and the history says so.

A run that had proposed its result by then is sealed, whatever was heard of it: see `test_proposals_in_time.py`.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio

from contracts.command import CancelCommand
from control_plane import lifecycle
from control_plane.lifecycle import Current
from control_plane.reconciler import Reconciler
from tests.control_plane.direct import Direct, directly
from tests.control_plane.driver import Driver
from tests.control_plane.installation import Installation

SEALED = ["accepted", "queued", "running", "sealing", "succeeded"]
OVER = ["accepted", "queued", "running", "failed"]


@pytest_asyncio.fixture(loop_scope="session")
async def direct(still: Installation, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Direct]:
    async def unseen(*_: Any) -> bool:
        return False

    monkeypatch.setattr(Reconciler, "has_proposal", unseen)
    async with directly(still) as direct:
        yield direct


async def _overdue(direct: Direct, number: int = 1) -> tuple[Driver, dict[str, str]]:
    """A run that is over its time limit and writes its proposal at the last moment: nobody who looks for it sees it in time."""
    driver = await direct.driver(await direct.command(number)).started()
    change = "UPDATE attempts SET deadline = clock_timestamp() - interval '1 hour' WHERE process_id = $1"
    await direct.sql(change, driver.command.process_id)
    return driver, await driver.make()


async def _history(direct: Direct, driver: Driver) -> list[str]:
    while await direct.seal():
        pass
    return await direct.caller.history(str(driver.command.process_id))


async def _cancels(direct: Direct) -> list[Any]:
    return [message.process_id for message in await direct.publish() if isinstance(message, CancelCommand)]


def _first_before_the_lock(monkeypatch: pytest.MonkeyPatch, report: Callable[[], Awaitable[Any]]) -> list[int]:
    """Let the report come when the attempt was found overdue and is not locked yet; returns its answers."""
    working, answers, begun = lifecycle.lock, [], []

    async def lock(connection: Any, process_id: Any, tenant: str | None = None) -> Current | None:
        if not begun:
            begun.append(True)
            answers.append((await report()).status_code)
        return await working(connection, process_id, tenant)

    monkeypatch.setattr(lifecycle, "lock", lock)
    return answers


async def test_the_last_report_just_before(direct: Direct, monkeypatch: pytest.MonkeyPatch) -> None:
    driver, reference = await _overdue(direct)
    answers = _first_before_the_lock(monkeypatch, lambda: driver.finished(reference))
    await direct.deadlines()
    assert (answers, await _history(direct, driver)) == ([200], SEALED)
    assert await _cancels(direct) == []


async def test_a_failure_just_before(direct: Direct, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next attempt is not the one that was overdue."""
    driver, _ = await _overdue(direct)
    answers = _first_before_the_lock(monkeypatch, lambda: driver.failed(retryable=True))
    await direct.deadlines()
    assert (answers, await _history(direct, driver)) == ([200], ["accepted", "queued", "running", "retrying"])
    attempts = (await direct.caller.process(str(driver.command.process_id)))["attempts"]
    assert [(each["state"], each["error_class"]) for each in attempts] == [("failed", "NO_SPACE"), ("created", None)]
    assert await _cancels(direct) == []


async def test_a_heartbeat_just_before_buys_no_time(direct: Direct, monkeypatch: pytest.MonkeyPatch) -> None:
    driver, _ = await _overdue(direct)
    answers = _first_before_the_lock(monkeypatch, driver.heartbeat)
    await direct.deadlines()
    assert (answers, await _history(direct, driver)) == ([200], OVER)
    assert await _cancels(direct) == [driver.command.process_id]


@pytest.mark.parametrize("kind", ["finished", "failed", "heartbeat"])
async def test_a_report_just_after(kind: str, direct: Direct) -> None:
    """It changes nothing. That it failed is not news, and is not refused."""
    driver, reference = await _overdue(direct)
    await direct.deadlines()
    reports = {
        "finished": lambda: driver.finished(reference),
        "failed": lambda: driver.failed(retryable=True),
        "heartbeat": driver.heartbeat,
    }
    assert (await reports[kind]()).status_code == (200 if kind == "failed" else 410)
    assert await _history(direct, driver) == OVER
    assert driver.manifest() is None
    process = await direct.caller.process(str(driver.command.process_id))
    assert process["attempts"][0]["error_class"] == "TIME_LIMIT"
    assert [row["type"] for row in await direct.sql("SELECT type FROM refused_callbacks")] == ([] if kind == "failed" else [kind])


async def test_both_at_once(direct: Direct) -> None:
    for number in range(12):
        driver, reference = await _overdue(direct, number)
        begin = (direct.deadlines(), driver.finished(reference)) if number % 2 else (driver.finished(reference), direct.deadlines())
        answers = await asyncio.gather(*begin)
        (status,) = [answer.status_code for answer in answers if answer is not None]
        history = await _history(direct, driver)
        assert (status, history) in [(200, SEALED), (410, OVER)]
        assert (driver.manifest() is not None) == (status == 200)
        assert await _cancels(direct) == ([] if status == 200 else [driver.command.process_id])


async def test_the_first_report_at_the_last_moment(direct: Direct, monkeypatch: pytest.MonkeyPatch) -> None:
    """It came in time by the clock of the database, and was granted: the run has its whole time limit."""
    driver = direct.driver(await direct.command())
    await direct.sql("UPDATE attempts SET start_before = clock_timestamp() - interval '1 second'")

    async def granted() -> Any:
        await direct.sql("UPDATE attempts SET start_before = clock_timestamp() + interval '1 hour'")
        return await driver.report("started")

    answers = _first_before_the_lock(monkeypatch, granted)
    await direct.deadlines()
    assert (answers, await _history(direct, driver)) == ([200], ["accepted", "queued", "running"])
    assert await _cancels(direct) == []
