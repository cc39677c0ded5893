"""A folder, or a tenant's store, that cannot be swept holds up no other."""

import json
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from control_plane import storage
from control_plane.errors import StorageUnavailable, TooMuch
from control_plane.storage import ObjectInfo, Storage
from control_plane.sweeper import due
from control_plane.sweeper.sweep import leftovers, turn
from control_plane.sweeper.sweeper import Sweeper
from control_plane.sweeper.tally import Kind
from tests.control_plane.caller import ENTITY, VERSION
from tests.control_plane.driver import Driver
from tests.control_plane.installation import Installation
from tests.control_plane.quiet import Later, Quiet, leftover_settings, sweeper


class Small(Storage):
    """A store of which only little is read at once, and whose objects of `troubled` runs meet trouble."""

    most = storage.MOST_BYTES
    troubled: tuple[str, ...] = ()
    trouble: Exception = RuntimeError("a defect")

    def list(self, bucket: str, prefix: str, most: int = 3) -> list[ObjectInfo]:
        return super().list(bucket, prefix, most)

    def get(self, bucket: str, key: str, most: int | None = None) -> bytes:
        return super().get(bucket, key, most or self.most)

    def delete(self, bucket: str, keys: Iterable[str]) -> None:
        found = list(keys)
        if any(run in key for run in self.troubled for key in found):
            raise self.trouble
        super().delete(bucket, found)


@dataclass
class Two:
    """Two folders of runs that failed long ago; the older one will meet trouble."""

    quiet: Quiet
    troubled: Driver
    other: Driver

    def small(self, **facts: Any) -> Small:
        store = Small(leftover_settings(self.quiet.installation))
        for name, value in facts.items():
            setattr(store, name, value)
        return store

    async def turn(self, store: Storage) -> None:
        """What the reconciler does."""
        own = sweeper(Sweeper, self.quiet.installation, store)
        try:
            await turn(own)
        finally:
            await own.database.close()

    async def kept(self) -> dict[str, int]:
        """The reasons of the last small sweep."""
        async with self.quiet.installation.sql() as sql:
            report = await sql.fetchval("SELECT report->'kinds'->'run folder'->>'kept' FROM sweeps WHERE scope = 'ended'")
        return dict(json.loads(report))

    async def forget_marks(self) -> None:
        """As if the lease of whoever began to remove a folder were over."""
        async with self.quiet.installation.sql() as sql:
            await sql.execute("UPDATE swept_folders SET lease_until = clock_timestamp()")


async def _failed(quiet: Quiet, number: int, days: int) -> Driver:
    driver = await quiet.granted(number)
    await driver.make()
    await driver.failed(retryable=False)
    async with quiet.installation.sql() as sql:
        change = "UPDATE attempts SET ended_at = ended_at - make_interval(days => $2) WHERE process_id = $1"
        await sql.execute(change, driver.command.process_id, days)
    return driver


@pytest_asyncio.fixture(loop_scope="session")
async def two(still: Installation) -> AsyncIterator[Two]:
    async with still.api() as client:
        caller = await still.tenant(client)
        await caller.ingest()
        quiet = Quiet(still, client, caller)
        yield Two(quiet, await _failed(quiet, 1, 40), await _failed(quiet, 2, 30))


async def test_a_folder_of_more_objects_than_a_listing_may_have(two: Two) -> None:
    for number in range(5):
        await two.troubled.write(name=f"part-1{number}.parquet")
    await two.turn(two.small())
    assert (two.troubled.listing(), two.other.listing()) == ([], [])


async def test_the_proposal_goes_first_wherever_it_stands(two: Two) -> None:
    """No seal succeeds without it; names before it in the listing do not change that."""
    await two.troubled.write(name="A/part-0.parquet")
    left: list[list[str]] = []

    class Watched(Small):
        def delete(self, bucket: str, keys: Iterable[str]) -> None:
            super().delete(bucket, keys)
            left.append(two.troubled.listing())

    await two.turn(Watched(leftover_settings(two.quiet.installation)))
    assert two.troubled.path.proposal_key(two.troubled.run_id) not in left[0]
    assert len(left[0]) == 2


async def test_a_manifest_that_is_too_large_to_be_read_keeps_its_folder(two: Two) -> None:
    await two.troubled.put(two.troubled.path.manifest_key, b" " * 3000)
    before = two.troubled.listing()
    await two.turn(two.small(most=2000))
    assert (two.troubled.listing(), two.other.listing()) == (before, [])
    assert await two.kept() == {"its dataset's manifest is too large to be read, so nobody knows what it names": 1}


async def test_a_manifest_that_is_too_large_to_be_read_is_reported(two: Two) -> None:
    await two.troubled.put(two.troubled.path.manifest_key, b" " * 3000)
    own = sweeper(Later, two.quiet.installation, two.small(most=2000))
    reported = await leftovers(own, remove=False)
    await own.database.close()
    why = "its dataset's manifest is too large to be read, so nobody knows what it names"
    assert reported.counts[Kind.RUN_FOLDER].kept[why] == 1


@pytest.mark.parametrize("trouble", [RuntimeError("a defect"), TooMuch("a listing"), ValueError("a defect")])
async def test_a_folder_that_brings_a_defect_to_light(trouble: Exception, two: Two) -> None:
    store = two.small(troubled=(two.troubled.run_id,), trouble=trouble)
    await two.turn(store)
    assert two.other.listing() == []
    assert await two.kept() == {f"it could not be swept ({type(trouble).__name__}); it is tried again": 1}
    await two.forget_marks()
    store.troubled = ()
    await two.turn(store)
    assert two.troubled.listing() == []


async def test_a_store_that_lets_nobody_in_keeps_nobody_from_others(two: Two) -> None:
    store = two.small(troubled=(two.troubled.run_id,), trouble=StorageUnavailable("403"))
    async with two.quiet.installation.sql() as sql:
        other = await two.quiet.installation.tenant(two.quiet.client)
        await other.ingest()
        theirs = await _failed(Quiet(two.quiet.installation, two.quiet.client, other), 3, 20)
        with pytest.raises(StorageUnavailable, match="403"):
            await two.turn(store)
        assert theirs.listing() == []
        assert await sql.fetchval("SELECT count(*) FROM sweeps WHERE scope = 'full'") == 1, "the store is listed all the same"


async def test_more_troubled_folders_than_are_taken_at_once(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(due, "_BATCH", 1)
    await two.turn(two.small(troubled=(two.troubled.run_id,)))
    assert two.other.listing() == []


async def test_files_of_a_retired_dataset_go_page_by_page(two: Two) -> None:
    """And a tombstone that is too large to be one keeps its files alone."""
    quiet, source = two.quiet, f"/v1/entities/{ENTITY}/versions/{VERSION}/datasets"
    first = two.troubled.root.dataset(ENTITY, VERSION, "source")
    await quiet.caller.ingest("second")
    for name in ("source", "second"):
        await quiet.caller.ok("POST", f"{source}/{name}/retire", {"reason": "wrong currency"})
    quiet.installation.s3.put_object(Bucket=first.root.bucket, Key=first.tombstone_key, Body=b" " * 70_000)
    async with quiet.installation.sql() as sql:
        await sql.execute("ALTER TABLE retirements DISABLE TRIGGER retirements_never_change")
        await sql.execute("UPDATE retirements SET retired_at = retired_at - interval '30 days'")
        await sql.execute("ALTER TABLE retirements ENABLE TRIGGER retirements_never_change")
        second = await sql.fetchval("SELECT run_id FROM datasets WHERE dataset = 'second'")
        prefix = two.troubled.root.dataset(ENTITY, VERSION, "second").run_prefix(second)
        for number in range(5):
            await two.troubled.put(f"{prefix}more-{number}.parquet", b"x")
        await two.turn(two.small(most=8000))
        rows = await sql.fetch("SELECT dataset, removed_objects FROM retirements ORDER BY dataset")
    assert [tuple(row) for row in rows] == [("second", 6), ("source", None)]
