"""Between the look at a folder and the end of its removal others go on: whatever they seal, nothing of it is lost."""

import asyncio
from collections.abc import Callable, Iterable

import pytest

from contracts.layout import DatasetPath, StorageRoot
from contracts.manifest import Manifest
from control_plane.storage import Storage
from control_plane.sweeper import removal
from control_plane.sweeper.removal import Kept, remove_folder
from control_plane.sweeper.sweeper import Sweeper
from tests.control_plane.caller import BUCKET, ENTITY, VERSION, parquet
from tests.control_plane.quiet import Quiet, leftover_settings, sweeper


class Interrupted(Storage):
    """After so many pieces of a folder are deleted, somebody else comes in between."""

    left = 0
    come: Callable[[], object]

    def delete(self, bucket: str, keys: Iterable[str]) -> None:
        super().delete(bucket, keys)
        self.left -= 1
        if self.left == 0:
            self.come()


def _keys(quiet: Quiet, path: DatasetPath) -> list[str]:
    return [item.key.removeprefix(path.prefix) for item in quiet.installation.storage.list(BUCKET, path.prefix)]


@pytest.mark.parametrize("pieces", [1, 2, 3])
async def test_a_manifest_that_comes_in_the_middle_saves_the_rest(pieces: int, quiet: Quiet, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is looked for before each piece: the control plane that seals it may work with another database."""
    path = StorageRoot.parse(quiet.caller.root).dataset(ENTITY, "v9", "late")
    parts = [f"run-1/part-{number}.parquet" for number in range(4)]
    for name in (*parts, "run-1/_proposal.json"):
        quiet.installation.s3.put_object(Bucket=BUCKET, Key=path.prefix + name, Body=parquet())
    source = await quiet.caller.ok("GET", f"/v1/entities/{ENTITY}/versions/{VERSION}/datasets/source")
    manifest = Manifest.model_validate({name: source[name] for name in Manifest.model_fields}).model_copy(update={"run_id": "run-1"})
    monkeypatch.setattr(removal, "_PIECE", 1)
    store = Interrupted(leftover_settings(quiet.installation))
    store.left, store.come = pieces, lambda: store.put_new(BUCKET, path.manifest_key, manifest.to_bytes())
    sweeping = sweeper(Sweeper, quiet.installation, store)
    outcome = await remove_folder(sweeping, quiet.caller.tenant, path, "run-1")
    await sweeping.database.close()
    assert outcome == Kept("its dataset's manifest names it", sealed=True)
    assert _keys(quiet, path) == ["_manifest.json", *parts[pieces - 1 :]], "the proposal was the first piece"
    async with quiet.installation.sql() as sql:
        assert await sql.fetch("SELECT FROM swept_folders") == [], "what is sealed is not marked as removed"


@pytest.mark.parametrize("maker", ["run", "upload"])
async def test_a_seal_under_way_is_waited_for(maker: str, quiet: Quiet) -> None:
    """Whatever seals the folder holds its process, or its upload. That of an earlier attempt, say, which a later one finds in the store."""
    root, tenant = StorageRoot.parse(quiet.caller.root), quiet.caller.tenant
    async with quiet.installation.sql() as sealer:
        if maker == "run":
            driver = await quiet.granted()
            await driver.make()
            await driver.failed(retryable=False)
            path, run_id, lock = driver.path, driver.run_id, "SELECT id FROM processes FOR UPDATE"
        else:
            upload = await quiet.caller.begin_upload("more")
            path, run_id, lock = root.dataset(ENTITY, VERSION, "more"), upload["upload_id"], "SELECT id FROM uploads FOR UPDATE"
            await sealer.execute("UPDATE uploads SET state = 'expired' WHERE dataset = 'more'")
        before = _keys(quiet, path)
        seal = sealer.transaction()
        await seal.start()
        await sealer.execute(lock)
        await sealer.execute(
            "INSERT INTO datasets SELECT (jsonb_populate_record(d, jsonb_build_object('dataset', $1::text, 'run_id', $2::text))).*"
            " FROM datasets d WHERE dataset = 'source'",
            path.dataset,
            run_id,
        )
        sweeping = sweeper(Sweeper, quiet.installation)
        removing = asyncio.ensure_future(remove_folder(sweeping, tenant, path, run_id))
        await quiet.until_it_waits(removing)
        await seal.commit()
        assert await removing == Kept("the registry says that it is sealed", sealed=True)
        await sweeping.database.close()
        assert (_keys(quiet, path), await sealer.fetch("SELECT FROM swept_folders")) == (before, [])
