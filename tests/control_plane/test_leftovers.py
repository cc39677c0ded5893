"""What nobody will seal goes by policy; what a manifest names, or may yet name, never does."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from contracts.command import AttemptRef
from contracts.event import Relist
from contracts.identifiers import new_id
from contracts.layout import StorageRoot
from contracts.manifest import Manifest
from control_plane.errors import StorageUnavailable
from control_plane.sealing import seal_next
from control_plane.storage import Storage
from control_plane.sweeper import listed
from control_plane.sweeper.removal import BUSY, Kept, remove_folder
from control_plane.sweeper.settings import SweepSettings
from control_plane.sweeper.sweep import leftovers, turn
from control_plane.sweeper.sweeper import Sweeper
from control_plane.sweeper.tally import NOT_ASKED, Kind, Tally
from control_plane.zombies import end_zombies
from tests.control_plane.caller import BUCKET, ENTITY, VERSION, parquet
from tests.control_plane.commands import run
from tests.control_plane.driver import Driver
from tests.control_plane.quiet import Later, Quiet, leftover_settings, sweeper


@pytest_asyncio.fixture(loop_scope="session")
async def later(quiet: Quiet) -> AsyncIterator[Sweeper]:
    made = sweeper(Later, quiet.installation)
    yield made
    await made.database.close()


def _root(quiet: Quiet) -> StorageRoot:
    return StorageRoot.parse(quiet.caller.root)


def _keys(quiet: Quiet) -> list[str]:
    root = _root(quiet)
    return [item.key.removeprefix(root.prefix) for item in quiet.installation.storage.list(root.bucket, root.prefix)]


def _put(quiet: Quiet, *keys: str, body: bytes | None = None) -> None:
    for key in keys:
        quiet.installation.s3.put_object(Bucket=BUCKET, Key=_root(quiet).prefix + key, Body=parquet() if body is None else body)


UNKNOWN = f"{ENTITY}/{VERSION}/source/run-of-nobody"


async def test_folders_that_no_row_knows(quiet: Quiet, later: Sweeper) -> None:
    """A zombie's beside a sealed dataset, that of a forgotten dataset; not what is younger, foreign, or no run's folder."""
    sealed = _keys(quiet)
    lost = f"{ENTITY}/v9/lost"
    mine = [f"{UNKNOWN}/part-0.parquet", f"{UNKNOWN}/_proposal.json", f"{lost}/run-1/__magic_job-1/x", f"{lost}/run-1/_SUCCESS"]
    foreign = [f"{lost}/run-2/part-0.parquet", f"{lost}/run-2/notes.txt", f"{lost}/readme.md", "a.parquet", "_x/a/b/c/d.parquet"]
    _put(quiet, *mine, *foreign)
    soon = sweeper(Sweeper, quiet.installation)
    young = await leftovers(soon, remove=True)
    await soon.database.close()
    assert young.counts[Kind.UNKNOWN_FOLDER].kept["no row knows it, and it is younger than the grace"] == 2
    assert set(_keys(quiet)) == {*sealed, *mine, *foreign}
    reported = await leftovers(later, remove=False)
    assert reported.counts[Kind.UNKNOWN_FOLDER].kept == {NOT_ASKED: 2, "it holds objects that Stratum does not write": 1}
    assert set(_keys(quiet)) == {*sealed, *mine, *foreign}
    only_reports = sweeper(Later, quiet.installation, sweep_unknown_folders=False)
    kept = (await leftovers(only_reports, remove=True)).counts[Kind.UNKNOWN_FOLDER]
    await only_reports.database.close()
    assert kept.removed == 0
    removed = (await leftovers(later, remove=True)).counts[Kind.UNKNOWN_FOLDER]
    assert (removed.found, removed.removed) == (3, 2)
    assert removed.removed_bytes == 2 * len(parquet()) * 2
    assert set(_keys(quiet)) == {*sealed, *foreign}
    assert (await quiet.caller.get(f"/v1/entities/{ENTITY}/versions/{VERSION}/datasets/source")).status_code == 200


async def test_a_manifest_that_comes_between_look_and_removal(quiet: Quiet, later: Sweeper) -> None:
    """A seal from elsewhere: the database was restored, and an older control plane still knows the run."""
    _put(quiet, f"{ENTITY}/v9/late/run-1/part-0.parquet", f"{ENTITY}/v9/late/run-1/_proposal.json")
    found = [left async for left in listed.find(later, quiet.caller.tenant, _root(quiet))]
    assert [(left.folder.run_id, left.kept) for left in found] == [("run-1", None)]
    source = await quiet.caller.ok("GET", f"/v1/entities/{ENTITY}/versions/{VERSION}/datasets/source")
    manifest = Manifest.model_validate({name: source[name] for name in Manifest.model_fields})
    _put(quiet, f"{ENTITY}/v9/late/_manifest.json", body=manifest.model_copy(update={"run_id": "run-1"}).to_bytes())
    before, tally = _keys(quiet), Tally(remove=True)
    await listed.remove(later, tally, found[0])
    assert _keys(quiet) == before
    assert tally.counts[Kind.UNKNOWN_FOLDER].kept == {"its dataset's manifest names it": 1}
    assert [left async for left in listed.find(later, quiet.caller.tenant, _root(quiet))] == [], "what is sealed is not left over"


async def test_what_may_yet_be_sealed_is_not_removed(quiet: Quiet, later: Sweeper) -> None:
    for driver in (await quiet.granted(1), await quiet.complete(2)):
        await driver.write(name="part-1.parquet")
        before = driver.listing()
        assert await remove_folder(later, quiet.caller.tenant, driver.path, driver.run_id) == BUSY
        assert driver.listing() == before
    upload = await quiet.caller.begin_upload("more")
    path = _root(quiet).dataset(ENTITY, VERSION, "more")
    assert await remove_folder(later, quiet.caller.tenant, path, upload["upload_id"]) == BUSY
    assert (await quiet.caller.post(f"{upload['path']}/seal")).status_code == 200
    kept = await remove_folder(later, quiet.caller.tenant, path, upload["upload_id"])
    assert kept == Kept("the registry says that it is sealed", sealed=True)


async def test_a_run_whose_folder_is_being_removed_is_not_sealed(quiet: Quiet) -> None:
    """Whoever marked it: half of it may be gone. Without the mark's guard the dataset is sealed."""
    driver = await quiet.complete()
    async with quiet.installation.sql() as sql:
        await sql.execute(
            "INSERT INTO swept_folders (tenant, entity_id, data_version, dataset, run_id, lease_until) VALUES ($1, $2, $3, $5, $4, now())",
            quiet.caller.tenant,
            ENTITY,
            VERSION,
            driver.run_id,
            driver.path.dataset,
        )
    await quiet.seal()
    process = await quiet.caller.process(str(driver.command.process_id))
    assert (process["state"], driver.manifest()) == ("failed", None)
    assert "a sweeper is removing the folder" in process["reason"]


async def test_seals_and_sweeps_at_once(quiet: Quiet, later: Sweeper) -> None:
    """Whoever is first: a dataset is sealed with all its files, or not at all."""
    for number in range(5):
        driver = await quiet.complete(number)
        async with quiet.installation.reconciler() as reconciler:
            await asyncio.gather(seal_next(reconciler), remove_folder(later, quiet.caller.tenant, driver.path, driver.run_id))
        process = await quiet.caller.process(str(driver.command.process_id))
        assert process["state"] == "succeeded"
        assert len(driver.listing()) == 3


async def test_a_second_run_of_a_process_that_succeeded(quiet: Quiet, later: Sweeper) -> None:
    driver = await quiet.sealed()
    _put(quiet, f"{ENTITY}/{VERSION}/filtered-1/zombie/part-0.parquet")
    before = driver.listing()
    removed = await leftovers(later, remove=True)
    assert removed.counts[Kind.UNKNOWN_FOLDER].removed == 1
    assert driver.listing() == [key for key in before if "zombie" not in key]


async def test_two_sweepers_at_once(quiet: Quiet) -> None:
    _put(quiet, *(f"{ENTITY}/v9/lost/run-{number}/part-{part}.parquet" for number in range(5) for part in range(3)))
    two = [sweeper(Later, quiet.installation) for _ in range(2)]
    tallies = await asyncio.gather(*(leftovers(one, remove=True) for one in two))
    for one in two:
        await one.database.close()
    counts = [tally.counts[Kind.UNKNOWN_FOLDER] for tally in tallies if Kind.UNKNOWN_FOLDER in tally.counts]
    assert sum(count.removed for count in counts) == 5
    assert sum(count.removed_bytes for count in counts) == 15 * len(parquet())
    assert not [key for key in _keys(quiet) if "/v9/" in key]


class Failing(Storage):
    """The store goes away after the first piece that is deleted."""

    pieces = 0

    def delete(self, bucket: str, keys: Iterable[str]) -> None:
        self.pieces += 1
        if self.pieces == 2:
            raise StorageUnavailable("gone")
        super().delete(bucket, keys)


async def test_a_store_that_goes_away_in_the_middle(quiet: Quiet, later: Sweeper) -> None:
    _put(quiet, f"{UNKNOWN}/_proposal.json", f"{UNKNOWN}/part-0.parquet", f"{ENTITY}/v9/lost/run-1/part-0.parquet")
    broken = sweeper(Later, quiet.installation, Failing(leftover_settings(quiet.installation)))
    with pytest.raises(StorageUnavailable):
        await leftovers(broken, remove=True)
    await broken.database.close()
    assert [key for key in _keys(quiet) if "run-of-nobody" in key] == [f"{UNKNOWN}/part-0.parquet"], "the proposal goes first"
    async with quiet.installation.sql() as sql:
        assert await sql.fetchval("SELECT error FROM sweeps ORDER BY began_at DESC LIMIT 1") == "gone"
        await sql.execute("UPDATE swept_folders SET lease_until = now()")
    assert (await leftovers(later, remove=True)).counts[Kind.UNKNOWN_FOLDER].removed == 2
    assert not [key for key in _keys(quiet) if "run-of-nobody" in key]


async def test_unfinished_uploads_of_parts(quiet: Quiet, later: Sweeper) -> None:
    """Only under the tenant's root, only when they are old, and not those of a run under way."""
    s3, root = quiet.installation.s3, _root(quiet)
    driver = await quiet.granted()
    keys = [f"{root.prefix}{UNKNOWN}/part-0.parquet", driver.path.run_prefix(driver.run_id) + "part-0.parquet", f"elsewhere/{root.prefix}x"]
    ids = {key: s3.create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"] for key in keys}
    s3.upload_part(Bucket=BUCKET, Key=keys[0], UploadId=ids[keys[0]], PartNumber=1, Body=b"x" * 1000)

    def there() -> set[str]:
        return {item["Key"] for item in s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", ()) if item["UploadId"] in ids.values()}

    soon = sweeper(Sweeper, quiet.installation)
    young = await leftovers(soon, remove=True)
    await soon.database.close()
    assert young.counts[Kind.MULTIPART].kept == {"it is younger than the grace": 1, "its run or upload is under way": 1}
    assert there() == set(keys)
    count = (await leftovers(later, remove=True)).counts[Kind.MULTIPART]
    assert (count.found, count.removed, count.removed_bytes) == (2, 1, 1000)
    assert there() == set(keys[1:])
    for key in keys[1:]:
        s3.abort_multipart_upload(Bucket=BUCKET, Key=key, UploadId=ids[key])


async def test_logs_go_by_an_explicit_policy_alone(quiet: Quiet, later: Sweeper) -> None:
    done, open_ = await quiet.sealed(1), await quiet.granted(2)
    logs = [f"_logs/{driver.command.process_id}/0/1/000000.log" for driver in (done, open_)]
    _put(quiet, *logs, body=b"words")
    await leftovers(later, remove=True)
    assert [key for key in _keys(quiet) if key.startswith("_logs/")] == sorted(logs)
    strict = sweeper(Later, quiet.installation, log_seconds=7 * 86_400)
    count = (await leftovers(strict, remove=True)).counts[Kind.LOG]
    await strict.database.close()
    assert (count.removed, count.removed_bytes) == (1, 5)
    assert [key for key in _keys(quiet) if key.startswith("_logs/")] == [logs[1]]


AGE = "interval '30 days'"


async def _age(sql: asyncpg.Connection, driver: Driver) -> None:
    await sql.execute(f"UPDATE processes SET ended_at = ended_at - {AGE} WHERE id = $1", driver.command.process_id)
    await sql.execute(f"UPDATE outbox SET published_at = now() - {AGE} WHERE process_id = $1", driver.command.process_id)


async def test_rows_that_have_served_their_time(quiet: Quiet) -> None:
    old, new = await quiet.sealed(1), await quiet.sealed(2)
    body = {"entity_id": ENTITY, "data_version": VERSION, "action": "filter", "parameters": {"condition": "delay > 9"}}
    for key in ("old", "new"):
        await quiet.caller.post("/v1/processes", body, headers={"Idempotency-Key": key})
    async with quiet.installation.sql() as sql:
        for driver in (old, new):
            for run_id in ("late", "later"):
                assert (await Driver(quiet.client, quiet.installation, driver.command, run_id).report("started")).status_code == 409
        await sql.execute(f"UPDATE idempotency_keys SET created_at = created_at - {AGE} WHERE key = 'old'")
        await _age(sql, old)

        async def rows(table: str) -> dict[Any, int]:
            found = await sql.fetch(f"SELECT process_id, count(*) AS n FROM {table} GROUP BY 1")
            return {row["process_id"]: row["n"] for row in found}

        events, refused = await rows("events"), await rows("refused_callbacks")
        usual = sweeper(Sweeper, quiet.installation, refused_callback_seconds=0)
        reported = (await leftovers(usual, remove=False)).counts
        assert (reported[Kind.IDEMPOTENCY_KEY].found, reported[Kind.OUTBOX].found) == (1, 1)
        assert {Kind.EVENT, Kind.REFUSED_CALLBACK}.isdisjoint(reported), (
            "the history is kept for ever unless a life is set, refusals for a month"
        )
        await leftovers(usual, remove=True)
        assert [row["key"] for row in await sql.fetch("SELECT key FROM idempotency_keys")] == ["new"]
        assert old.command.process_id not in await rows("outbox")
        assert new.command.process_id in await rows("outbox")
        assert (await rows("events"), await rows("refused_callbacks")) == (events, refused)
        await usual.database.close()
        strict = sweeper(Sweeper, quiet.installation, event_seconds=7 * 86_400, refused_callback_seconds=7 * 86_400)
        removed = (await leftovers(strict, remove=True)).counts
        await strict.database.close()
        assert removed[Kind.EVENT].removed == events[old.command.process_id]
        assert removed[Kind.REFUSED_CALLBACK].removed == refused[old.command.process_id] == 2
        del events[old.command.process_id], refused[old.command.process_id]
        assert (await rows("events"), await rows("refused_callbacks")) == (events, refused)


def test_refused_callbacks_have_a_life_unless_it_is_taken_from_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert SweepSettings().refused_callback_seconds == 30 * 86_400
    monkeypatch.setenv("STRATUM_REFUSED_CALLBACK_SECONDS", "0")
    assert SweepSettings().refused_callback_seconds is None


@pytest.mark.parametrize("table", ["events", "refused_callbacks"])
async def test_the_audit_trails_refuse_everything_but_retention(table: str, quiet: Quiet) -> None:
    driver, _ = await quiet.sealed(1), await quiet.granted(2)
    assert (await Driver(quiet.client, quiet.installation, driver.command, "late").report("started")).status_code == 409
    async with quiet.installation.sql() as sql:
        where = f"FROM {table} WHERE process_id = '{driver.command.process_id}'"
        opened = "SELECT set_config('stratum.retention_before', (now() - interval '{}')::text, true)"

        async def attempted(statement: str, window: str | None) -> None:
            async with sql.transaction():
                if window is not None:
                    await sql.execute(opened.format(window))
                await sql.execute(statement)

        async def refused(statement: str, window: str | None = None) -> None:
            with pytest.raises(asyncpg.RaiseError, match="this never changes"):
                await attempted(statement, window)

        await refused(f"DELETE {where}")
        await refused(f"DELETE {where}", "7 days")
        await sql.execute(f"UPDATE processes SET ended_at = ended_at - {AGE} WHERE id = $1", driver.command.process_id)
        await refused(f"DELETE {where}")
        await refused(f"DELETE {where}", "1 hour")
        await refused(f"UPDATE {table} SET tenant = tenant WHERE process_id = '{driver.command.process_id}'", "7 days")
        await attempted(f"DELETE {where}", "7 days")
        await refused("DELETE FROM events")


async def test_each_sweep_that_removes_leaves_a_record(quiet: Quiet) -> None:
    driver = await quiet.granted()
    await driver.make()
    await driver.failed(retryable=False)
    async with quiet.installation.sql() as sql:
        await sql.execute(f"UPDATE attempts SET ended_at = ended_at - {AGE} WHERE process_id = $1", driver.command.process_id)
        usual = sweeper(Sweeper, quiet.installation)
        await turn(usual)
        await turn(usual)
        await usual.database.close()
        ended, full = await sql.fetch("SELECT scope, started_by, report, ended_at FROM sweeps ORDER BY scope")
    assert (ended["scope"], full["scope"], full["ended_at"] is not None) == ("ended", "full", True), "one of each, the store listed once"
    report = json.loads(ended["report"])
    folder = driver.path.uri(driver.path.run_prefix(driver.run_id))
    assert (report["removed"], report["kinds"]["run folder"]["removed"]) == ([folder], 1)


async def test_the_command_reports_and_removes(quiet: Quiet) -> None:
    driver = await quiet.granted()
    await driver.make()
    await driver.failed(retryable=False)
    async with quiet.installation.sql() as sql:
        await sql.execute(f"UPDATE attempts SET ended_at = ended_at - {AGE} WHERE process_id = $1", driver.command.process_id)
        before = driver.listing()
        code, output = await run(quiet.installation, "leftovers", "--json")
        assert code == 0, output
        found = json.loads(output.splitlines()[-1])["kinds"]["run folder"]
        assert (found["found"], found["removed"], found["kept"]) == (1, 0, {NOT_ASKED: 1})
        assert (driver.listing(), await sql.fetchval("SELECT count(*) FROM sweeps")) == (before, 0)
        code, output = await run(quiet.installation, "leftovers", "--remove")
        assert (code, "run folder: found 1" in output) == (0, True), output
        assert driver.listing() == []
        assert await sql.fetchval("SELECT started_by FROM sweeps") == "command"


async def test_a_cancel_that_nobody_answered_is_said_again(quiet: Quiet) -> None:
    """Its job was never made, or nobody may look at it: no list tells of either."""
    process_id = (await quiet.caller.accepted(1))["id"]
    await quiet.command(process_id)
    assert (await quiet.caller.ok("POST", f"/v1/processes/{process_id}/cancel"))["state"] == "cancelling"
    database = sweeper(Sweeper, quiet.installation).database
    now = datetime.now(UTC)
    relist = Relist(event_id=new_id(), at=now, cluster="c", began_at=now, live=())
    async with quiet.installation.sql() as sql:
        await sql.execute("UPDATE outbox SET published_at = now() - interval '15 minutes' WHERE kind = 'cancel'")
        assert await end_zombies(database, relist) == 0
        await sql.execute(f"UPDATE attempts SET ended_at = ended_at - {AGE}")
        assert [await end_zombies(database, relist) for _ in range(2)] == [1, 0]
        told = await sql.fetch("SELECT process_id FROM outbox WHERE kind = 'cancel' AND released_at IS NOT NULL AND published_at IS NULL")
        assert [str(row["process_id"]) for row in told] == [process_id]
    await database.close()


async def test_a_job_that_outlives_its_attempt_is_ended(quiet: Quiet) -> None:
    """Once in ten minutes, and not while the usual word may still be on its way."""
    old, new = await quiet.granted(1), await quiet.granted(2)
    for driver in (old, new):
        await driver.failed(retryable=False)
    database = sweeper(Sweeper, quiet.installation).database
    now = datetime.now(UTC)
    live = tuple(AttemptRef(**driver.command.model_dump(include={"tenant", "process_id", "step", "attempt"})) for driver in (old, new))
    relist = Relist(event_id=new_id(), at=now, cluster="c", began_at=now, live=live)
    async with quiet.installation.sql() as sql:
        await sql.execute(f"UPDATE attempts SET ended_at = ended_at - {AGE} WHERE process_id = $1", old.command.process_id)
        assert [await end_zombies(database, relist) for _ in range(2)] == [1, 0]
        await sql.execute("UPDATE outbox SET published_at = now() - interval '5 minutes' WHERE kind = 'cancel'")
        assert await end_zombies(database, relist) == 0
        await sql.execute("UPDATE outbox SET published_at = now() - interval '15 minutes' WHERE kind = 'cancel'")
        assert await end_zombies(database, relist) == 1
        told = await sql.fetch("SELECT process_id FROM outbox WHERE kind = 'cancel' AND released_at IS NOT NULL AND published_at IS NULL")
        assert [row["process_id"] for row in told] == [old.command.process_id]
    await database.close()
