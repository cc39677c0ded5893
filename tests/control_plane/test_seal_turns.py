"""Whose seal is next: nobody's many seals hold up another's one, and two sealers never take the same."""

import asyncio
from collections import Counter
from dataclasses import replace
from uuid import UUID

from control_plane.database import queries
from tests.control_plane.direct import Direct, directly
from tests.control_plane.installation import Installation


async def _complete(direct: Direct, number: int) -> str:
    """A process whose run has reported its last."""
    driver = await direct.driver(await direct.command(number)).started()
    assert (await driver.finished(await driver.make())).status_code == 200
    return str(driver.command.process_id)


async def test_a_tenants_first_goes_before_anothers_second(still: Installation) -> None:
    async with directly(still) as crowd:
        single = replace(crowd, caller=await still.tenant(crowd.client, "bolt"))
        await single.caller.ingest()
        many = [await _complete(crowd, number) for number in range(1, 6)]
        one = await _complete(single, 1)
        for _ in range(2):
            assert await crowd.seal()
        assert (await single.caller.process(one))["state"] == "succeeded"
        while await crowd.seal():
            pass
        order = await crowd.sql("SELECT id FROM processes WHERE state = 'succeeded' AND tenant <> 'bolt' ORDER BY ended_at")
        assert [str(row["id"]) for row in order] == many, "of one tenant, whose files were complete first"


async def test_two_that_both_have_many_take_turns(still: Installation) -> None:
    async with directly(still) as crowd:
        other = replace(crowd, caller=await still.tenant(crowd.client, "bolt"))
        await other.caller.ingest()
        for direct in (crowd, other):
            for number in range(1, 4):
                await _complete(direct, number)
        for done in (1, 2, 3):
            assert (await crowd.seal(), await crowd.seal()) == (True, True)
            rows = await crowd.sql("SELECT tenant FROM processes WHERE state = 'succeeded'")
            assert set(Counter(row["tenant"] for row in rows).values()) == {done}


async def test_several_at_once_take_each_its_own(still: Installation) -> None:
    async with directly(still) as direct:
        wanted = {UUID(await _complete(direct, number)) for number in range(1, 6)}

        async def take() -> UUID | None:
            async with direct.reconciler.database.connection() as connection:
                row = await queries.take_seal(connection, seconds=60, served=[])
            return row and row["process_id"]

        taken = await asyncio.gather(*(take() for _ in range(8)))
        assert sorted(filter(None, taken)) == sorted(wanted)
