"""A list of jobs is judged by the database's clock, whatever time it claims to have been begun at."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest
import pytest_asyncio

from contracts.command import Command
from contracts.topics import REASON_HEADER
from control_plane.deadlines import tell_unwatched
from control_plane.errors import EventRefused
from tests.control_plane.caller import Caller
from tests.control_plane.direct import CLUSTER, Direct, directly
from tests.control_plane.installation import Installation
from tests.control_plane.launcher import Launcher
from tests.control_plane.steps import Steps
from tests.control_plane.waiting import eventually

FAR = timedelta(days=27_000)


@pytest_asyncio.fixture(loop_scope="session")
async def direct(still: Installation) -> AsyncIterator[Direct]:
    async with directly(still.but(retry_delay_seconds=0)) as direct:
        yield direct


async def _submitted(direct: Direct) -> Command:
    command = await direct.command()
    await direct.say("submitted", command)
    return command


async def _state(direct: Direct, command: Command) -> str:
    return str((await direct.caller.process(str(command.process_id)))["state"])


async def _stored(direct: Direct) -> list[datetime]:
    return [row["began_at"] for row in await direct.sql("SELECT began_at FROM observations")]


async def _store_bad(direct: Direct) -> None:
    """What an earlier version took for true."""
    await direct.sql(
        "INSERT INTO observations (cluster, began_at, unseen) VALUES ($1, '2099-01-01', '{}') "
        "ON CONFLICT (cluster) DO UPDATE SET began_at = excluded.began_at",
        CLUSTER,
    )


async def test_a_list_from_the_future_is_not_used(direct: Direct) -> None:
    command = await _submitted(direct)
    with pytest.raises(EventRefused, match=r"begun at 2100-.*, later than now"):
        await direct.relist(began_at=datetime.fromisoformat("2100-11-01T00:00:00+00:00"))
    assert await _stored(direct) == []
    await direct.deadlines()
    assert await _state(direct, command) == "submitted", "its lease holds, and nobody has looked"
    await direct.relist(command)
    await direct.sql("UPDATE attempts SET lease_until = clock_timestamp()")
    await direct.relist()
    assert await _state(direct, command) == "accepted", "a later list that is true is taken"


async def test_what_such_a_list_left_behind_in_the_database_heals(direct: Direct) -> None:
    command = await _submitted(direct)
    await _store_bad(direct)
    await direct.deadlines()
    assert await _state(direct, command) == "submitted", "its job has just begun to wait"
    await direct.sql("UPDATE attempts SET lease_until = clock_timestamp() - interval '1 day'")
    await tell_unwatched(direct.reconciler)
    assert "cannot be looked at" in (await direct.caller.process(str(command.process_id)))["reason"], "nobody has looked since"
    began = await direct.now()
    await direct.relist(command, began_at=began, unseen=["somebody"])
    [row] = await direct.sql("SELECT began_at, unseen FROM observations")
    assert (row["began_at"], row["unseen"]) == (began, ["somebody"])


async def test_lists_still_count_when_read_out_of_order(direct: Direct) -> None:
    first, second = await direct.now(), await direct.now()
    await direct.relist(began_at=second, unseen=["a"])
    await direct.relist(began_at=first, unseen=["b"])
    [row] = await direct.sql("SELECT began_at, unseen FROM observations")
    assert (row["began_at"], row["unseen"]) == (second, ["a"])


async def test_a_list_that_is_a_little_ahead_is_one_of_now(direct: Direct) -> None:
    """Two servers of one database, one after the other, differ a little."""
    command = await _submitted(direct)
    await direct.sql("UPDATE attempts SET lease_until = clock_timestamp() + interval '2 seconds'")
    await direct.relist(began_at=await direct.now() + timedelta(seconds=4))
    assert await _state(direct, command) == "submitted", "its lease is not over yet"
    [stored] = await _stored(direct)
    assert stored <= await direct.now()


async def test_it_is_put_aside_and_what_comes_after_it_is_read(steps: Steps, acme: Caller, launcher: Launcher) -> None:
    command = await steps.submitted()
    now = datetime.fromisoformat((await acme.ok("GET", "/v1/time"))["now"])
    letters = launcher.received[launcher.topics.dlq(launcher.topics.events)]
    before = len(letters)
    await launcher.relist(now + FAR)
    await launcher.relist(now, command)

    async def come() -> bool:
        reasons = [dict(letter.headers())[REASON_HEADER].decode() for letter in letters[before:]]
        return any("later than now" in reason for reason in reasons)

    await eventually(come, what="the dead letter")
    assert (await acme.process(str(command.process_id)))["state"] == "submitted"
