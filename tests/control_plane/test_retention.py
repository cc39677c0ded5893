"""Rows that nobody needs any more have an end, whatever became of their process; rows that somebody may need do not."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from pydantic import ValidationError

from control_plane.sweeper.removal import remove_folder
from control_plane.sweeper.settings import SweepSettings
from control_plane.sweeper.sweep import leftovers
from control_plane.sweeper.sweeper import Sweeper
from control_plane.sweeper.tally import NOT_ASKED, Kind
from tests.control_plane.caller import ENTITY
from tests.control_plane.quiet import Quiet, sweeper

AGE = "interval '100 days'"
HOOK = "https://example.com/hook"


@pytest_asyncio.fixture(loop_scope="session")
async def usual(quiet: Quiet) -> AsyncIterator[Sweeper]:
    """A sweeper with the settings that nobody changed."""
    made = sweeper(Sweeper, quiet.installation)
    yield made
    await made.database.close()


@pytest_asyncio.fixture(loop_scope="session")
async def sql(quiet: Quiet) -> AsyncIterator[asyncpg.Connection]:
    async with quiet.installation.sql() as connection:
        yield connection


async def _cancelled(quiet: Quiet, number: int, **fields: Any) -> str:
    """A process that was cancelled while it waited for its turn."""
    process_id: str = (await quiet.caller.accepted(number, **fields))["id"]
    assert (await quiet.caller.ok("POST", f"/v1/processes/{process_id}/cancel"))["state"] == "cancelled"
    return process_id


async def test_messages_that_were_never_released(quiet: Quiet, usual: Sweeper, sql: asyncpg.Connection) -> None:
    """Nobody will publish the command of a process that was cancelled before its turn. One that waits for its turn keeps its own."""
    old, new = await _cancelled(quiet, 1), await _cancelled(quiet, 2)
    waiting = (await quiet.caller.accepted(3))["id"]
    await sql.execute(f"UPDATE processes SET ended_at = ended_at - {AGE} WHERE id = $1", old)
    reported = (await leftovers(usual, remove=False)).counts[Kind.OUTBOX]
    assert (reported.found, reported.kept) == (1, {NOT_ASKED: 1})
    assert (await leftovers(usual, remove=True)).counts[Kind.OUTBOX].removed == 1
    assert {str(row["process_id"]) for row in await sql.fetch("SELECT process_id FROM outbox")} == {new, waiting}


async def test_a_released_message_stays_until_it_is_published(quiet: Quiet, usual: Sweeper, sql: asyncpg.Connection) -> None:
    """Kafka may be away for long: what was to be said is still to be said."""
    driver = await quiet.sealed(1)
    await sql.execute(f"UPDATE processes SET ended_at = ended_at - {AGE} WHERE id = $1", driver.command.process_id)
    assert Kind.OUTBOX not in (await leftovers(usual, remove=True)).counts
    assert await sql.fetchval("SELECT count(*) FROM outbox WHERE process_id = $1", driver.command.process_id) == 1


async def test_deliveries_that_are_over(quiet: Quiet, usual: Sweeper, sql: asyncpg.Connection) -> None:
    """Delivered or given up, a delivery can be sent again for its life; one that waits is kept however old it is."""
    names = ("delivered", "given_up", "new", "waiting")
    ended = {name: await _cancelled(quiet, number, callback_url=HOOK) for number, name in enumerate(names)}
    over = "UPDATE webhook_deliveries SET state = $2, last_error = 'no', ended_at = now(), leased_until = NULL WHERE process_id = $1"
    await sql.execute(over, ended["delivered"], "delivered")
    await sql.execute(over, ended["given_up"], "given_up")
    await sql.execute(f"UPDATE webhook_deliveries SET created_at = created_at - {AGE}, ended_at = ended_at - {AGE}")
    await sql.execute(over, ended["new"], "given_up")
    assert (await leftovers(usual, remove=False)).counts[Kind.DELIVERY].found == 2
    assert (await leftovers(usual, remove=True)).counts[Kind.DELIVERY].removed == 2
    left = {item["process_id"]: item["id"] for item in (await quiet.caller.ok("GET", "/v1/webhooks"))["items"]}
    assert set(left) == {ended["new"], ended["waiting"]}
    assert (await quiet.caller.post(f"/v1/webhooks/{left[ended['new']]}/replay")).status_code == 202


async def test_a_delivery_that_is_sent_again_meanwhile(quiet: Quiet, usual: Sweeper, sql: asyncpg.Connection) -> None:
    """It is old when the sweeper finds it, and waits when the sweeper gets at it."""
    await _cancelled(quiet, 1, callback_url=HOOK)
    await sql.execute(f"UPDATE webhook_deliveries SET state = 'delivered', ended_at = now() - {AGE}")
    replay = sql.transaction()
    await replay.start()
    await sql.execute("UPDATE webhook_deliveries SET state = 'waiting', ended_at = NULL")
    sweep = asyncio.ensure_future(leftovers(usual, remove=True))
    await quiet.until_it_waits(sweep)
    await replay.commit()
    assert Kind.DELIVERY not in (await sweep).counts
    assert await sql.fetchval("SELECT state FROM webhook_deliveries") == "waiting"


async def test_marks_of_removed_folders(quiet: Quiet, usual: Sweeper, sql: asyncpg.Connection) -> None:
    """A mark keeps a folder from being sealed while it goes. It stays for as long as there could be somebody to seal it."""
    ended, open_ = await quiet.granted(1), await quiet.granted(2)
    await ended.failed(retryable=False)
    await ended.write()
    await remove_folder(usual, quiet.caller.tenant, ended.path, ended.run_id)
    assert Kind.MARK not in (await leftovers(usual, remove=True)).counts
    for driver in (open_, ended):
        await sql.execute(
            "INSERT INTO swept_folders (tenant, entity_id, data_version, dataset, run_id, lease_until)"
            " VALUES ($1, $2, 'v0', 'x', $3, now())",
            quiet.caller.tenant,
            ENTITY,
            driver.run_id,
        )
    await sql.execute(f"UPDATE swept_folders SET lease_until = lease_until - {AGE}")
    assert (await leftovers(usual, remove=False)).counts[Kind.MARK].found == 2
    assert (await leftovers(usual, remove=True)).counts[Kind.MARK].removed == 2
    assert [row["run_id"] for row in await sql.fetch("SELECT run_id FROM swept_folders")] == [open_.run_id]


def test_deliveries_have_a_life_unless_it_is_taken_from_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert SweepSettings().webhook_delivery_seconds == 30 * 86_400
    monkeypatch.setenv("STRATUM_WEBHOOK_DELIVERY_SECONDS", "0")
    assert SweepSettings().webhook_delivery_seconds is None
    monkeypatch.setenv("STRATUM_WEBHOOK_DELIVERY_SECONDS", "3600")
    with pytest.raises(ValidationError, match="greater than or equal to 172800"):
        SweepSettings()
