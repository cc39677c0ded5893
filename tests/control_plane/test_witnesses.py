"""Three tell of a run's end: its job, its last report, its proposal. They come in any order, and each may be missing."""

from itertools import permutations
from typing import Any

import pytest

from contracts.command import Command
from control_plane import lifecycle, proposals, seal
from tests.control_plane.direct import Direct, directly
from tests.control_plane.driver import Driver
from tests.control_plane.installation import Installation

PROPOSAL, REPORT, END, GONE, MANIFEST = "proposal", "report", "job ended", "job not in a list", "manifest put by a sealer that died"
SUCCEEDED, REFUSED, RETRIED, RUNNING = "succeeded", "failed", "accepted", "running"


def expected(order: tuple[str, ...]) -> str:
    """What must become of the process, told apart from how it is done.

    The first of report and end decides. Files that are not there by then are not waited for.
    """
    deciding = next((index for index, what in enumerate(order) if what in (REPORT, END, GONE)), None)
    if deciding is None:
        return RUNNING  # nobody said that it is over
    made = PROPOSAL in order[:deciding]
    if order[deciding] == REPORT:
        # the report names the proposal by its hash, and sealing happens after everything came: it may lie there by then
        return SUCCEEDED if PROPOSAL in order else REFUSED
    return SUCCEEDED if made else RETRIED


ORDERS = [
    order
    for last in (END, GONE)
    for size in range(4)
    for order in permutations((PROPOSAL, REPORT, last), size)
    if last in order or last == END
]


async def _do(direct: Direct, command: Command, driver: Driver, what: str, reference: dict[str, str]) -> None:
    if what == PROPOSAL:
        assert await driver.make() == reference, "the same run makes the same proposal"
    elif what == REPORT:
        answer = await driver.finished(reference)
        assert answer.status_code in (200, 410), answer.text
    elif what == END:
        await direct.say("ended", command)
    elif what == GONE:
        await direct.sql(
            "UPDATE attempts SET lease_until = clock_timestamp() WHERE process_id = $1 AND state = 'started'", command.process_id
        )
        await direct.relist()


async def _reference(driver: Driver) -> dict[str, str]:
    """The proposal that the run will make; its files are there, it is not."""
    reference = await driver.make()
    driver.store.delete_object(Bucket=driver.root.bucket, Key=reference["key"])
    return reference


async def _put_manifest(direct: Direct, command: Command) -> None:
    """What a sealer puts; the database is as it was before."""
    async with direct.reconciler.database.transaction() as connection:
        current = await lifecycle.lock(connection, command.process_id)
    assert current is not None
    (checked,) = proposals.checked(direct.reconciler.storage, current, direct.reconciler.settings)
    seal.put_manifest(
        direct.reconciler.storage, seal.sealable(checked.path, proposals.manifest(current, checked, current.now)), seal.put_until()
    )


@pytest.mark.parametrize("job_was_seen", [True, False])
async def test_every_order_of_the_witnesses(job_was_seen: bool, still: Installation) -> None:
    async with directly(still) as direct:
        for number, order in enumerate(ORDERS):
            if GONE in order and not job_was_seen:
                continue  # a cluster's list says nothing of jobs that nobody said to be there
            command = await direct.command(number)
            process_id = str(command.process_id)
            if job_was_seen:
                await direct.say("submitted", command)
            driver = await direct.driver(command).started()
            reference = await _reference(driver)
            for what in order:
                await _do(direct, command, driver, what, reference)
            while await direct.seal():
                pass
            process = await direct.caller.process(process_id)
            assert process["state"] == expected(order), f"{order}: {process['reason']}"
            assert (driver.manifest() is not None) == (process["state"] == SUCCEEDED), order
            if process["state"] == RETRIED:
                assert process["attempts"][0]["state"] in ("failed", "lost"), order
                await direct.caller.post(f"/v1/processes/{process_id}/cancel")  # so that it does not meet the next one


@pytest.mark.parametrize("state", ["started", "sealing"])
async def test_a_manifest_whose_update_was_lost_is_taken_up(state: str, still: Installation) -> None:
    """The row is as before the seal, be it by a crash or by a database that was restored."""
    async with directly(still) as direct:
        command = await direct.command()
        await direct.say("submitted", command)
        driver = await direct.driver(command).started()
        reference = await driver.make()
        if state == "sealing":
            await driver.finished(reference)
        await _put_manifest(direct, command)
        before = driver.manifest()
        await direct.say("ended", command)
        assert await direct.seal()
        done = await direct.caller.process(str(command.process_id))
        assert (done["state"], done["artifacts"][0]["dataset"]) == ("succeeded", "filtered-1")
        assert driver.manifest() == before is not None


async def test_a_report_after_the_end_that_decided_otherwise_is_refused(still: Installation) -> None:
    async with directly(still) as direct:
        command = await direct.command()
        await direct.say("submitted", command)
        driver = await direct.driver(command).started()
        await direct.say("ended", command)
        answer: Any = await driver.finished(await driver.make())
        assert answer.status_code == 410
        (audited,) = await direct.sql("SELECT type, reason FROM refused_callbacks")
        assert (audited["type"], audited["reason"]) == ("finished", "There is a later attempt; this one is over.")
        second = await direct.next_command()
        assert second.attempt == 2
        await direct.driver(second).complete()
        assert await direct.seal()
        assert (await direct.caller.process(str(command.process_id)))["state"] == "succeeded"
