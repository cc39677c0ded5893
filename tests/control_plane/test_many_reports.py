"""One run's reports, however many at once, keep nobody else from the database; those that count are heard."""

import asyncio
from collections import Counter

import pytest

from tests.control_plane.caller import Caller
from tests.control_plane.installation import Installation
from tests.control_plane.quiet import Quiet
from tests.control_plane.steps import Steps

pytestmark = pytest.mark.security


async def test_one_runs_heartbeats_shut_nobody_out(steps: Steps, bare: Caller, platform: Installation) -> None:
    driver = await steps.driver(await steps.submitted()).started()
    async with platform.sql() as sql, sql.transaction():
        await sql.execute("SELECT FROM processes WHERE id = $1 FOR UPDATE", driver.command.process_id)  # so that all of them wait
        beats = [asyncio.create_task(driver.heartbeat()) for _ in range(150)]
        others = await asyncio.gather(*(bare.get("/v1/processes") for _ in range(15)))
        last = asyncio.create_task(driver.finished(await driver.make()))
        await bare.get("/v1/processes")
        assert {answer.status_code for answer in others} == {200}
    answers = await asyncio.gather(*beats)
    refused = [answer for answer in answers if answer.status_code == 503]
    assert Counter(answer.status_code for answer in answers)[200] == len(answers) - len(refused) == 2
    assert {(answer.json()["type"], answer.headers["retry-after"]) for answer in refused} == {("urn:stratum:problem:busy", "1")}
    assert (await last).status_code == 200, "a heartbeat takes no room from the last report"


async def test_reports_of_many_runs_leave_connections_for_others(still: Installation) -> None:
    """Each waits for a row of its own: that is one turn an attempt, and half of the pool for all of them."""
    async with still.but(database_pool_size=4).api() as client:
        bolt = await still.tenant(client)
        await bolt.ingest()
        steps = Quiet(still, client, bolt)
        drivers = [await steps.granted(number) for number in range(5)]
        async with still.sql() as sql, sql.transaction():
            await sql.execute("SELECT FROM processes FOR UPDATE")
            beats = [asyncio.create_task(driver.heartbeat()) for driver in drivers]
            assert {answer.status_code for answer in await asyncio.gather(*(bolt.get("/v1/quota") for _ in range(9)))} == {200}
        assert {answer.status_code for answer in await asyncio.gather(*beats)} == {200}
