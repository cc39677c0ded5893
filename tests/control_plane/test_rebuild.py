"""After the database was restored from an older copy, the registry comes back from the manifests."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from contracts.layout import DatasetPath, StorageRoot
from contracts.manifest import Manifest
from control_plane.rebuild import rebuild
from control_plane.storage import Storage
from tests.control_plane.caller import BUCKET, ENTITY, VERSION, Caller
from tests.control_plane.commands import run
from tests.control_plane.installation import Installation, create_database
from tests.control_plane.quiet import Quiet, leftover_settings
from tests.control_plane.waiting import eventually


@pytest_asyncio.fixture(loop_scope="session")
async def quiet(still: Installation) -> AsyncIterator[Quiet]:
    """A tenant that has nothing yet."""
    async with still.api() as client:
        yield Quiet(still, client, await still.tenant(client))


def _name(url: str) -> str:
    return url.rsplit("/", 1)[1]


async def _copy(quiet: Quiet) -> str:
    """The database as it is now, kept under another name; for that moment nobody is connected to it."""
    url = quiet.installation.database_url
    server = await asyncpg.connect(f"{url.rsplit('/', 1)[0]}/template1")
    await server.execute(f'ALTER DATABASE "{_name(url)}" ALLOW_CONNECTIONS false')

    async def look() -> str | None:
        await server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", _name(url))
        try:
            return await create_database(f"{url.rsplit('/', 1)[0]}/postgres", _name(url))
        except asyncpg.ObjectInUseError:  # one of them is still on its way out
            return None

    try:
        return await eventually(look, 60, "the copy")  # type: ignore[return-value]
    finally:
        await server.execute(f'ALTER DATABASE "{_name(url)}" ALLOW_CONNECTIONS true')
        await server.close()


async def _rebuilt(installation: Installation, *options: str) -> tuple[int, dict[str, Any]]:
    code, output = await run(installation, "rebuild", "--json", *options)
    return code, json.loads(output.splitlines()[-1])


async def test_everything_reads_again(quiet: Quiet) -> None:
    older = await _copy(quiet)
    before = quiet.caller
    await before.ingest()
    driver = await quiet.sealed(1)
    await before.ingest("extra")
    await before.ok("POST", f"/v1/entities/{ENTITY}/versions/{VERSION}/datasets/extra/retire", {"reason": "not needed"})
    process = await before.process(str(driver.command.process_id))
    shown = {name: await before.ok("GET", f"/v1/entities/{ENTITY}/versions/{VERSION}/datasets/{name}") for name in ("source", "filtered-1")}
    manifest = driver.manifest()
    restored = replace(quiet.installation, database_url=older)
    async with restored.api() as client:
        caller = Caller(client, before.tenant, before.key, before.root, restored)
        assert (await caller.get(f"/v1/entities/{ENTITY}/versions/{VERSION}/datasets/source")).status_code == 404
        names = {f"{before.tenant}: {ENTITY}/{VERSION}/{name}" for name in ("source", "filtered-1", "extra")}
        code, report = await _rebuilt(restored, "--dry-run")
        assert (code, set(report["registered"])) == (0, names)
        assert (await caller.get(f"/v1/entities/{ENTITY}/versions/{VERSION}/datasets/source")).status_code == 404
        code, report = await _rebuilt(restored)
        assert (code, set(report["registered"]), report["conflicts"]) == (0, names, {})
        assert await _rebuilt(restored) == (0, {"known": 3, "registered": [], "conflicts": {}})
        for name, was in shown.items():
            now = await caller.ok("GET", f"/v1/entities/{ENTITY}/versions/{VERSION}/datasets/{name}")
            assert {**now, "urls": None} == {**was, "urls": None}
        extra = await caller.get(f"/v1/entities/{ENTITY}/versions/{VERSION}/datasets/extra")
        assert (extra.status_code, "not needed" in extra.json()["detail"]) == (410, True), "the tombstone counts, too"
        same = await caller.run(1, output_dataset="filtered-1")
        assert (same.status_code, same.json()["id"]) == (200, process["id"]), "the work is done, and is found to be"
        assert same.json()["artifacts"] == process["artifacts"]
        assert await caller.history(process["id"]) == ["rebuilt"]
        other = await caller.run(2, output_dataset="filtered-1")
        assert (other.status_code, other.json()["owner_process_id"]) == (409, process["id"])
        assert driver.manifest() == manifest


async def test_what_the_database_has_is_never_changed(quiet: Quiet) -> None:
    """Other manifests, files that are not there, and manifests in the wrong place are reported, and leave the rest alone."""
    await quiet.caller.ingest()
    older = await _copy(quiet)
    await quiet.caller.ingest("broken")
    await quiet.caller.ingest("whole")
    root = StorageRoot.parse(quiet.caller.root)
    s3 = quiet.installation.s3
    manifests = {
        name: json.loads(s3.get_object(Bucket=BUCKET, Key=root.dataset(ENTITY, VERSION, name).manifest_key)["Body"].read())
        for name in ("source", "broken")
    }
    s3.delete_object(Bucket=BUCKET, Key=manifests["broken"]["files"][0]["key"])
    changed = Manifest.model_validate_json(json.dumps({**manifests["source"], "parameters": {"changed": True}}))
    s3.put_object(Bucket=BUCKET, Key=root.dataset(ENTITY, VERSION, "source").manifest_key, Body=changed.to_bytes())
    s3.put_object(Bucket=BUCKET, Key=root.dataset(ENTITY, "v7", "source").manifest_key, Body=changed.to_bytes())
    s3.put_object(Bucket=BUCKET, Key=root.dataset(ENTITY, "v8", "source").manifest_key, Body=b"{}")
    restored = replace(quiet.installation, database_url=older)
    async with restored.sql() as sql:
        before = await sql.fetch("SELECT * FROM datasets")
        code, report = await _rebuilt(restored)
        assert (code, report["registered"]) == (3, [f"{quiet.caller.tenant}: {ENTITY}/{VERSION}/whole"])
        prefix = f"{quiet.caller.tenant}: {ENTITY}"
        said = report["conflicts"]
        assert set(said) == {f"{prefix}/{VERSION}/source", f"{prefix}/{VERSION}/broken", f"{prefix}/v7/source", f"{prefix}/v8/source"}
        assert "the registry has the manifest" in said[f"{prefix}/{VERSION}/source"]
        assert "is missing" in said[f"{prefix}/{VERSION}/broken"]
        assert "lies in another place" in said[f"{prefix}/v7/source"]
        assert "cannot be read" in said[f"{prefix}/v8/source"]
        assert await sql.fetch("SELECT * FROM datasets WHERE rebuilt_at IS NULL") == before


async def test_what_is_sealed_meanwhile_is_no_conflict(quiet: Quiet, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store is listed before the registry is read, and the services run. What is in the registry alone is still told."""
    await quiet.caller.ingest()
    await quiet.complete()
    list_places, loop = rebuild._places, asyncio.get_running_loop()

    def list_and_be_slow(storage: Storage, root: StorageRoot) -> list[DatasetPath]:
        listed = list_places(storage, root)
        asyncio.run_coroutine_threadsafe(quiet.seal(), loop).result(60)
        return listed

    monkeypatch.setattr(rebuild, "_places", list_and_be_slow)
    settings = leftover_settings(quiet.installation)
    assert (await rebuild.rebuild(settings, None, dry_run=False)).document() == {"known": 2, "registered": [], "conflicts": {}}
    root = StorageRoot.parse(quiet.caller.root)
    quiet.installation.s3.delete_object(Bucket=BUCKET, Key=root.dataset(ENTITY, VERSION, "source").manifest_key)
    report = await rebuild.rebuild(settings, None, dry_run=False)
    assert report.known == 1
    assert report.conflicts == {f"{quiet.caller.tenant}: {ENTITY}/{VERSION}/source": "registered, and the store has no manifest of it"}


async def test_other_work_that_was_accepted_meanwhile_is_left_alone(quiet: Quiet) -> None:
    """The same work was asked for again before the rebuild: the dataset comes back, without a row of the process that made it."""
    await quiet.caller.ingest()
    older = await _copy(quiet)
    driver = await quiet.sealed(1)
    restored = replace(quiet.installation, database_url=older)
    async with restored.api() as client:
        caller = Caller(client, quiet.caller.tenant, quiet.caller.key, quiet.caller.root, restored)
        meanwhile = await caller.accepted(1)
        assert (await _rebuilt(restored))[0] == 0
        shown = await caller.ok("GET", f"/v1/entities/{ENTITY}/versions/{VERSION}/datasets/filtered-1")
        assert shown["process_id"] == str(driver.command.process_id)
        assert (await caller.process(meanwhile["id"]))["state"] == "accepted"
        again = Quiet(restored, client, caller)
        late = await again.driver_of(meanwhile["id"])
        await late.finished(await late.make())
        await again.seal()
        process = await caller.process(meanwhile["id"])
        assert (process["state"], "was sealed by run" in process["reason"]) == ("failed", True)


async def test_an_earlier_attempt_had_sealed(quiet: Quiet) -> None:
    """The copy is of a moment before the end, so the work is tried again: it finds its own dataset, and overwrites nothing."""
    await quiet.caller.ingest()
    driver = await quiet.granted(1)
    older = await _copy(quiet)
    await driver.finished(await driver.make())
    await quiet.seal()
    manifest = driver.manifest()
    assert manifest is not None
    restored = replace(quiet.installation, database_url=older)
    async with restored.api() as client, restored.sql() as sql:
        caller = Caller(client, quiet.caller.tenant, quiet.caller.key, quiet.caller.root, restored)
        driver.client = client
        driver.token = (await driver.report("started", token=driver.command.flow_token)).json()["run_token"]
        await driver.failed(retryable=True)
        await sql.execute("UPDATE attempts SET not_before = now()")
        again = Quiet(restored, client, caller)
        second = await again.driver_of(str(driver.command.process_id))
        await second.finished(await second.make())
        await again.seal()
        process = await caller.process(str(driver.command.process_id))
        assert (process["state"], driver.manifest()) == ("succeeded", manifest)
        assert process["artifacts"][0]["location"] == json.loads(manifest)["location"]


@pytest.mark.parametrize("sealed_by", [1, 2])
async def test_an_attempt_that_the_copy_does_not_know_had_sealed(sealed_by: int, quiet: Quiet) -> None:
    """The copy is of a moment before the grant, so the first attempt is run again, by another run: it finds its process's own dataset."""
    await quiet.caller.ingest()
    process_id = (await quiet.caller.accepted(1))["id"]
    older = await _copy(quiet)
    driver = await quiet.driver_of(process_id)
    if sealed_by == 2:
        await driver.failed(retryable=True)
        async with quiet.installation.sql() as sql:
            await sql.execute("UPDATE attempts SET not_before = now()")
        driver = await quiet.driver_of(process_id)
    assert driver.command.attempt == sealed_by
    await driver.finished(await driver.make())
    await quiet.seal()
    manifest = driver.manifest()
    assert manifest is not None
    restored = replace(quiet.installation, database_url=older)
    async with restored.api() as client:
        caller = Caller(client, quiet.caller.tenant, quiet.caller.key, quiet.caller.root, restored)
        again = Quiet(restored, client, caller)
        second = await again.driver_of(process_id)
        assert (second.command.attempt, second.run_id == driver.run_id) == (1, False)
        await second.finished(await second.make())
        await again.seal()
        process = await caller.process(process_id)
        assert (process["state"], driver.manifest()) == ("succeeded", manifest), process["reason"]
        assert process["artifacts"][0]["location"] == json.loads(manifest)["location"]
        dataset = await caller.ok("GET", f"/v1/entities/{ENTITY}/versions/{VERSION}/datasets/filtered-1")
        assert dataset["run_id"] == driver.run_id
