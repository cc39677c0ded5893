"""An admin retires a dataset: nobody reads it, nobody gets its name, its files go, and that is known for ever."""

import asyncio
from uuid import UUID

import pytest

from contracts.layout import StorageRoot
from contracts.manifest import Manifest
from contracts.tombstone import Tombstone
from control_plane.database import queries
from control_plane.sweeper import due
from control_plane.sweeper.retired import NAMES_IN_ORDER
from control_plane.sweeper.sweep import leftovers
from control_plane.sweeper.sweeper import Sweeper
from control_plane.sweeper.tally import Kind
from tests.control_plane.caller import ENTITY, VERSION, Caller
from tests.control_plane.commands import run
from tests.control_plane.quiet import Quiet, sweeper

SOURCE = f"/v1/entities/{ENTITY}/versions/{VERSION}/datasets/source"
WHY = {"reason": "asked for by the customer"}


def _keys(quiet: Quiet, dataset: str = "source") -> list[str]:
    path = StorageRoot.parse(quiet.caller.root).dataset(ENTITY, VERSION, dataset)
    return [item.key.removeprefix(path.prefix) for item in quiet.installation.storage.list(path.root.bucket, path.prefix)]


async def test_a_retired_dataset_is_gone_and_its_name_is_taken(quiet: Quiet) -> None:
    caller = quiet.caller
    retired = await caller.ok("POST", f"{SOURCE}/retire", WHY)
    assert (retired["reason"], retired["retired_by"].startswith("key ")) == (WHY["reason"], True)
    read = await caller.get(SOURCE)
    assert (read.status_code, read.json()["type"]) == (410, "urn:stratum:problem:retired")
    assert all(word in read.json()["detail"] for word in (retired["retired_by"], WHY["reason"], retired["retired_at"][:10]))
    used = await caller.run()
    assert (used.status_code, used.json()["type"]) == (410, "urn:stratum:problem:retired")
    again = await caller.post(f"{SOURCE}/uploads", {"files": [{"name": "a.parquet", "bytes": 1, "sha256": "0" * 64}]})
    assert (again.status_code, again.json()["type"]) == (409, "urn:stratum:problem:name-taken")
    assert await caller.ok("POST", f"{SOURCE}/retire", {"reason": "another"}) == retired, "once is for good"
    assert (await caller.ok("GET", "/v1/entities"))["items"] == []


async def test_what_was_made_is_not_made_again(quiet: Quiet) -> None:
    driver = await quiet.sealed()
    path = f"/v1/entities/{ENTITY}/versions/{VERSION}/datasets/filtered-1"
    seen = await quiet.caller.ok("POST", f"{SOURCE}/retire", {**WHY, "dry_run": True})
    assert (seen["retired_at"], seen["made_from_it"]) == (None, [{"data_version": VERSION, "dataset": "filtered-1"}])
    assert (await quiet.caller.get(SOURCE)).status_code == 200, "a dry run changes nothing"
    assert "_retired.json" not in _keys(quiet)
    await quiet.caller.ok("POST", f"{path}/retire", WHY)
    same = await quiet.caller.run(1, output_dataset="filtered-1")
    assert (same.status_code, same.json()["type"]) == (409, "urn:stratum:problem:name-taken")
    assert "was retired on" in same.json()["detail"]
    assert driver.manifest() is not None


async def test_not_while_it_is_read(quiet: Quiet) -> None:
    accepted = await quiet.caller.accepted(1)
    refused = await quiet.caller.post(f"{SOURCE}/retire", WHY)
    assert (refused.status_code, refused.json()["owner_process_id"]) == (409, accepted["id"])
    assert "_retired.json" not in _keys(quiet)
    await quiet.caller.ok("POST", f"/v1/processes/{accepted['id']}/cancel")
    await quiet.caller.ok("POST", f"{SOURCE}/retire", WHY)


async def test_requests_and_a_retirement_at_once(quiet: Quiet) -> None:
    """Either the process is accepted and the retirement refused, or the other way round: never both."""
    for number in range(6):
        name = f"source-{number}"
        await quiet.caller.ingest(name)
        ran, retired = await asyncio.gather(
            quiet.caller.run(number, input_dataset=name, output_dataset=f"out-{number}"),
            quiet.caller.post(f"/v1/entities/{ENTITY}/versions/{VERSION}/datasets/{name}/retire", WHY),
        )
        assert (ran.status_code, retired.status_code) in {(202, 409), (410, 200)}


@pytest.mark.parametrize("role", ["viewer", "operator"])
async def test_only_an_admin_may(role: str, quiet: Quiet) -> None:
    other: Caller = await quiet.installation.tenant(quiet.client, quiet.caller.tenant, role)
    assert (await other.post(f"{SOURCE}/retire", WHY)).status_code == 403
    assert (await quiet.caller.post(f"{SOURCE}/retire", {"reason": "  "})).status_code == 422
    assert (await quiet.caller.post(f"{SOURCE.replace('source', 'sauce')}/retire", WHY)).status_code == 404


async def test_its_files_go_after_the_grace(quiet: Quiet) -> None:
    before = _keys(quiet)
    await quiet.caller.ok("POST", f"{SOURCE}/retire", WHY)
    tombstone = StorageRoot.parse(quiet.caller.root).dataset(ENTITY, VERSION, "source")
    written = Tombstone.model_validate_json(quiet.installation.storage.get(tombstone.root.bucket, tombstone.tombstone_key))
    assert written.reason == WHY["reason"]
    usual = sweeper(Sweeper, quiet.installation)
    kept = await leftovers(usual, remove=True)
    assert kept.counts[Kind.RETIRED].kept == {"the grace after its retirement is not over": 1}
    assert set(_keys(quiet)) == {*before, "_retired.json"}
    async with quiet.installation.sql() as sql:
        await sql.execute("ALTER TABLE retirements DISABLE TRIGGER retirements_never_change")
        await sql.execute("UPDATE retirements SET retired_at = retired_at - interval '30 days'")
        await sql.execute("ALTER TABLE retirements ENABLE TRIGGER retirements_never_change")
        removed = (await leftovers(usual, remove=True)).counts[Kind.RETIRED]
        assert (removed.removed, _keys(quiet)) == (1, ["_manifest.json", "_retired.json"])
        assert await sql.fetchval("SELECT removed_objects FROM retirements") == 1
        assert await sql.fetchval("SELECT bytes FROM stored") == 0, "what is gone counts no longer against the quota"
    assert Kind.RETIRED not in (await leftovers(usual, remove=True)).counts
    await usual.database.close()


async def test_no_manifest_is_fetched_for_it(quiet: Quiet) -> None:
    """It may have many megabytes."""
    await _long_retired(quiet)
    usual, seen = sweeper(Sweeper, quiet.installation), []
    async with usual.database.connection() as connection:
        seen += [row async for row in queries.retired_to_remove(connection, grace_seconds=0, limit=10, **dict.fromkeys(NAMES_IN_ORDER))]
        seen += [row async for row in queries.retired_by_state(connection, grace_seconds=0)]
    await usual.database.close()
    assert len(seen) == 2
    assert not any("manifest" in row for row in map(dict, seen))


async def _long_retired(quiet: Quiet) -> None:
    """As a rebuild from the tombstone writes it: whoever reads the dataset at that moment is not asked."""
    async with quiet.installation.sql() as sql:
        await sql.execute(
            "INSERT INTO retirements (tenant, entity_id, data_version, dataset, retired_at, retired_by, reason)"
            " SELECT tenant, entity_id, data_version, dataset, now() - interval '30 days', 'key x', 'old' FROM datasets"
        )


async def test_its_files_stay_while_it_is_read(quiet: Quiet) -> None:
    process_id = (await quiet.caller.accepted(1))["id"]
    await _long_retired(quiet)
    before = _keys(quiet)
    usual = sweeper(Sweeper, quiet.installation)
    kept = (await leftovers(usual, remove=True)).counts[Kind.RETIRED]
    assert (kept.kept, kept.removed, _keys(quiet)) == ({"an active process reads it": 1}, 0, before)
    await quiet.caller.ok("POST", f"/v1/processes/{process_id}/cancel")
    assert (await leftovers(usual, remove=True)).counts[Kind.RETIRED].removed == 1
    await usual.database.close()
    assert _keys(quiet) == ["_manifest.json", "_retired.json"]


async def test_a_thousand_that_stay_hide_nothing_behind_them(quiet: Quiet) -> None:
    """Each look takes what may go, wherever it stands; what stays is counted."""
    reader = await quiet.caller.accepted(1)
    async with quiet.installation.sql() as sql:
        await sql.execute(
            "INSERT INTO datasets SELECT (jsonb_populate_record(d, jsonb_build_object('dataset', 'read-' || n))).*"
            " FROM datasets d, generate_series(1, 1000) n"
        )
        await sql.execute(
            "UPDATE steps SET inputs = (SELECT jsonb_agg(jsonb_build_object('data_version', data_version, 'dataset', dataset))"
            " FROM datasets WHERE dataset <> 'source') WHERE process_id = $1",
            UUID(reader["id"]),
        )
        await sql.execute(
            "INSERT INTO retirements (tenant, entity_id, data_version, dataset, retired_at, retired_by, reason)"
            " SELECT tenant, entity_id, data_version, dataset, now() - make_interval(days => 30 + (dataset <> 'source')::integer),"
            " 'key x', 'old' FROM datasets"
        )
        size = await sql.fetchval("SELECT sum(bytes) FROM datasets")
    usual = sweeper(Sweeper, quiet.installation)
    found = (await leftovers(usual, remove=True)).counts[Kind.RETIRED]
    await usual.database.close()
    assert (found.found, found.found_bytes, found.removed) == (1001, size, 1)
    assert (found.kept, _keys(quiet)) == ({"an active process reads it": 1000}, ["_manifest.json", "_retired.json"])


async def test_those_that_cannot_go_hold_up_none_behind_them(quiet: Quiet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(due, "_BATCH", 1)
    s3, path = quiet.installation.s3, StorageRoot.parse(quiet.caller.root).dataset(ENTITY, VERSION, "source")
    await quiet.caller.ingest("second")
    await _long_retired(quiet)
    s3.put_object(Bucket=path.root.bucket, Key=path.manifest_key, Body=b"{}")
    usual = sweeper(Sweeper, quiet.installation)
    found = (await leftovers(usual, remove=True)).counts[Kind.RETIRED]
    await usual.database.close()
    assert (found.found, found.removed, _keys(quiet, "second")) == (2, 1, ["_manifest.json", "_retired.json"])


@pytest.mark.parametrize("manifest", ["of another run", "unreadable", "missing"])
async def test_its_files_stay_unless_the_store_agrees(manifest: str, quiet: Quiet) -> None:
    """Registry and store may tell of different runs, and then somebody is to look. Without a manifest nobody else names the files."""
    s3, path = quiet.installation.s3, StorageRoot.parse(quiet.caller.root).dataset(ENTITY, VERSION, "source")
    place = {"Bucket": path.root.bucket, "Key": path.manifest_key}
    if manifest == "missing":
        s3.delete_object(**place)
    else:
        sealed = Manifest.model_validate_json(s3.get_object(**place)["Body"].read())
        other = sealed.model_copy(update={"run_id": "run-of-somebody"}).to_bytes()
        s3.put_object(**place, Body=other if manifest == "of another run" else b"{}")
    before = _keys(quiet)
    await _long_retired(quiet)
    usual = sweeper(Sweeper, quiet.installation)
    found = (await leftovers(usual, remove=True)).counts[Kind.RETIRED]
    await usual.database.close()
    if manifest == "missing":
        assert (found.removed, _keys(quiet)) == (1, ["_retired.json"])
    else:
        assert found.kept == {"the manifest in the store names another run than the registry, or cannot be read": 1}
        assert (found.removed, set(_keys(quiet))) == (0, {*before, "_retired.json"})


async def test_a_policy_prints_commands_and_does_nothing(quiet: Quiet) -> None:
    await quiet.caller.ingest(version="v2")
    code, output = await run(quiet.installation, "retention", "--keep-last", "1", "--reason", "two are enough")
    assert code == 0, output
    assert output.startswith(f"stratum retire {ENTITY} {VERSION} source --reason 'two are enough'  # {quiet.caller.tenant}, ")
    assert (await quiet.caller.get(SOURCE)).status_code == 200
    code, output = await run(quiet.installation, "retention", "--reason", "none")
    assert (code, "name a policy" in output) == (2, True), output
