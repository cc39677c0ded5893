"""However much there is to sweep: who sweeps shows that it lives, holds little of it in memory, and comes to every tenant."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from contracts.layout import StorageRoot
from contracts.pulse import Pulse
from control_plane.reconcile import sweep
from control_plane.reconciler import Reconciler
from control_plane.storage import ObjectInfo, Storage, UnfinishedUpload
from control_plane.sweeper import folders, listed, removal
from control_plane.sweeper.multipart import sweep_multipart
from control_plane.sweeper.sweep import turn
from control_plane.sweeper.sweeper import Sweeper
from control_plane.sweeper.tally import Kind, Tally
from control_plane.sweeper.turns import SweepTurns
from tests.control_plane.caller import BUCKET, ENTITY, VERSION
from tests.control_plane.quiet import Later, Quiet, leftover_settings, sweeper

OLD = datetime.now(UTC) - timedelta(days=30)


class Beats(Pulse):
    """Counts what the sweep's loop shows, and how much was asked of the store in between."""

    def __init__(self) -> None:
        super().__init__()
        self.between: list[int] = [0]

    def beat(self, loop: str, pause_seconds: float = 0) -> None:
        super().beat(loop, pause_seconds)
        if loop == "sweep":
            self.between.append(0)

    def asked(self, **_: object) -> None:
        self.between[-1] += 1


async def test_it_shows_that_it_lives_for_each_piece(quiet: Quiet, monkeypatch: pytest.MonkeyPatch) -> None:
    """The requests between two beats are few, however many folders, objects, datasets and unfinished uploads there are."""
    s3, root = quiet.installation.s3, StorageRoot.parse(quiet.caller.root)
    monkeypatch.setattr(removal, "_PIECE", 1)
    now = Sweeper.now

    async def later(own: Sweeper) -> datetime:
        return await now(own) + timedelta(days=8)

    monkeypatch.setattr(Sweeper, "now", later)
    for number in range(12):
        for name in ("part-0.parquet", "part-1.parquet", "_proposal.json"):
            s3.put_object(Bucket=BUCKET, Key=f"{root.prefix}{ENTITY}/v{number}/x/run-of-nobody/{name}", Body=b"x")
        s3.create_multipart_upload(Bucket=BUCKET, Key=f"{root.prefix}{ENTITY}/v{number}/x/run-of-nobody/part-2.parquet")
    driver = await quiet.granted()
    for number in range(12):
        await driver.write(name=f"part-1{number}.parquet")
    await driver.failed(retryable=False)
    beats = Beats()
    async with quiet.installation.sql() as sql, quiet.installation.reconciler() as usual:
        await sql.execute("UPDATE attempts SET ended_at = ended_at - interval '30 days'")
        usual.storage._client.meta.events.register("before-send.s3", beats.asked)
        await sweep(Reconciler(usual.settings, usual.database, usual.storage, beats))
        assert [row["error"] for row in await sql.fetch("SELECT error FROM sweeps")] == [None, None]
    assert driver.listing() == []
    assert len(beats.between) > 60
    assert max(beats.between) <= 6
    assert sum(beats.between) > 100


class Crowd(Storage):
    """A store of very many unfinished uploads, of which a page is only made when it is asked for."""

    made = aborted = most_ahead = 0

    def unfinished_uploads(self, bucket: str, prefix: str) -> Iterator[Sequence[UnfinishedUpload]]:
        for page in range(50):
            yield [UnfinishedUpload(f"{prefix}{ENTITY}/v/x/run-{page}/{number}", "id", OLD) for number in range(20)]
            self.made += 20

    def parts_size(self, bucket: str, key: str, upload_id: str) -> int:
        return 1

    def abort_upload(self, bucket: str, key: str, upload_id: str) -> None:
        self.aborted += 1
        self.most_ahead = max(self.most_ahead, self.made - self.aborted)


async def test_unfinished_uploads_are_not_all_held_at_once(quiet: Quiet) -> None:
    crowd, tally = Crowd(leftover_settings(quiet.installation)), Tally(remove=True)
    own = sweeper(Sweeper, quiet.installation, crowd)
    await sweep_multipart(own, tally, quiet.caller.tenant, StorageRoot.parse(quiet.caller.root))
    await own.database.close()
    assert (crowd.aborted, tally.counts[Kind.MULTIPART].removed) == (1000, 1000)
    assert crowd.most_ahead < 20


def test_folders_are_not_all_held_at_once() -> None:
    """A tenant makes as many as it likes, beside and within one dataset, and as many objects of another form."""
    taken, root = 0, StorageRoot("bucket", "p/")

    def objects() -> Iterator[ObjectInfo]:
        nonlocal taken
        for prefix, suffix in (("e/v/d/run-", "/part-0.parquet"), ("other-", "")):
            for number in range(30_000):
                taken += 1
                yield ObjectInfo(f"p/{prefix}{number:06d}{suffix}", 1, "e", OLD)

    found, runs, before = folders.pieces(root, objects()), 0, 0
    for piece in found:
        assert taken - before <= max(folders.MOST_RUNS, folders.MOST_PASSED) + 1
        before, runs = taken, runs + len(piece.runs)
    assert runs == 30_000


def test_a_manifest_between_folders_parts_none_of_them() -> None:
    root = StorageRoot("bucket", "p/")
    names = ["Run/a.parquet", "Run/b.parquet", "_manifest.json", "run/__magic/x", "run/b.parquet", "run/notes.txt"]
    (piece,) = folders.pieces(root, [ObjectInfo(f"p/e/v/d/{name}", 1, "e", OLD) for name in names])
    assert [(run.run_id, run.size.objects, run.ours) for run in piece.runs] == [
        ("Run", 2, True),
        ("run", 3, False),
    ]
    assert piece.end > "p/e/v/d/run/zzz/\U0010fffe.parquet", "what comes into the last folder is not taken for a folder of its own"
    assert list(folders.sealed(root, [ObjectInfo(f"p/e/v/d/{name}", 1, "e", OLD) for name in names])) == [root.dataset("e", "v", "d")]


class Ticking(Storage):
    """On the clock of the test each deletion takes a second, and each look whether there is a manifest."""

    now = 0.0

    def exists(self, bucket: str, key: str) -> bool:
        self.now += 1
        return super().exists(bucket, key)

    def delete(self, bucket: str, keys: Iterable[str]) -> None:
        super().delete(bucket, keys)
        self.now += 1


async def test_a_tenants_turn_ends_and_the_next_one_goes_on_there(quiet: Quiet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of others are swept in the same sweep; and what is kept at the beginning of a root does not hide what is behind it."""
    monkeypatch.setattr(folders, "MOST_RUNS", 1)
    monkeypatch.setattr(listed, "_AT_ONCE", 1)
    installation, s3 = quiet.installation, quiet.installation.s3
    crowd = await installation.tenant(quiet.client, "a-crowd")
    single = await installation.tenant(quiet.client, "b-single")
    roots = {caller.tenant: StorageRoot.parse(caller.root) for caller in (crowd, single)}
    for name in ("run-0/notes.txt", "run-1/notes.txt", "run-2/part-0.parquet", "run-3/part-0.parquet"):
        s3.put_object(Bucket=BUCKET, Key=f"{roots['a-crowd'].prefix}{ENTITY}/{VERSION}/many/{name}", Body=b"x")
    s3.put_object(Bucket=BUCKET, Key=f"{roots['b-single'].prefix}{ENTITY}/{VERSION}/one/run-0/part-0.parquet", Body=b"x")
    store = Ticking(leftover_settings(installation))
    own = sweeper(Later, installation, store, sweep_listing_seconds=0.001)
    own = Later(own.settings, own.database, store, SweepTurns(seconds=2, clock=lambda: store.now))
    left = []
    try:
        for _ in range(5):
            await turn(own)
            left.append([len(store.list(BUCKET, roots[name].prefix)) for name in ("a-crowd", "b-single")])
        async with installation.sql() as sql:
            rows = await sql.fetch("SELECT error, report FROM sweeps WHERE scope = 'full' ORDER BY began_at")
    finally:
        await own.database.close()
    assert left == [[4, 0], [3, 0], [2, 0], [2, 0], [2, 0]]
    assert [row["error"] for row in rows] == [None] * 5
    assert ["its tenant's turn was over; a later sweep goes on with it" in row["report"] for row in rows] == [
        True,
        True,
        True,
        False,
        False,
    ]


async def test_a_folder_is_gone_on_with_and_nobody_seals_what_is_left(quiet: Quiet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(removal, "_PIECE", 1)
    driver = await quiet.granted()
    await driver.make()
    for number in range(3):
        await driver.write(name=f"part-1{number}.parquet")
    await driver.failed(retryable=False)
    store = Ticking(leftover_settings(quiet.installation))
    plain = sweeper(Sweeper, quiet.installation, store)
    own = Sweeper(plain.settings, plain.database, store, SweepTurns(seconds=2, clock=lambda: store.now))
    try:
        async with quiet.installation.sql() as sql:
            await sql.execute("UPDATE attempts SET ended_at = ended_at - interval '30 days'")
            await turn(own)
            begun = len(driver.listing())
            assert begun == 3
            assert await sql.fetchval("SELECT count(*) FROM swept_folders WHERE removed_at IS NULL") == 1, "it stays marked"
            await sql.execute("UPDATE swept_folders SET lease_until = clock_timestamp()")
            for _ in range(2):
                await turn(own)
                await sql.execute("UPDATE swept_folders SET lease_until = clock_timestamp()")
            assert driver.listing() == []
            assert await sql.fetchval("SELECT swept_at IS NOT NULL FROM attempts")
    finally:
        await own.database.close()
