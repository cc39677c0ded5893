"""What unsealed runs and uploads left is removed in time; what a manifest names never is."""

import asyncpg
import pytest

from contracts.manifest import Manifest
from control_plane.reconcile import sweep
from tests.control_plane.caller import ENTITY, VERSION, Caller
from tests.control_plane.driver import Driver
from tests.control_plane.installation import Installation
from tests.control_plane.launcher import Launcher
from tests.control_plane.steps import Steps
from tests.control_plane.waiting import eventually

GRACE = "interval '86400 seconds'"


async def _age(sql: asyncpg.Connection, driver: Driver, by: str) -> None:
    await sql.execute(f"UPDATE attempts SET ended_at = ended_at - {by} WHERE process_id = $1", driver.command.process_id)


async def _swept(sql: asyncpg.Connection, driver: Driver) -> None:
    """Wait until the sweeper has dealt with the attempt."""
    query = "SELECT count(*) > 0 FROM attempts WHERE process_id = $1 AND swept_at IS NOT NULL"
    await eventually(lambda: sql.fetchval(query, driver.command.process_id), what="the sweeper")


@pytest.mark.parametrize("ending", ["failed", "lost", "cancelled"])
async def test_the_folder_of_a_run_without_a_dataset_goes(
    ending: str, steps: Steps, acme: Caller, launcher: Launcher, sql: asyncpg.Connection
) -> None:
    driver = await steps.running()
    await driver.make()
    if ending == "failed":
        await driver.failed(retryable=False)
    elif ending == "cancelled":
        await acme.post(f"/v1/processes/{driver.command.process_id}/cancel")
    else:
        await driver.put(driver.path.proposal_key("somebody-else"), b"{}")
        driver.store.delete_object(Bucket=driver.root.bucket, Key=driver.path.proposal_key(driver.run_id))
        await launcher.say("ended", driver.command, outcome="vanished")
        await acme.until_event(str(driver.command.process_id), "retrying")
    mine = driver.path.run_prefix(driver.run_id)
    assert [key for key in driver.listing() if key.startswith(mine)]
    await _age(sql, driver, f"{GRACE} - interval '1 minute'")
    async with steps.installation.reconciler() as reconciler:
        await sweep(reconciler)
    assert [key for key in driver.listing() if key.startswith(mine)], "the grace, and its time limit, are not over"
    await _age(sql, driver, "interval '2 hours'")
    await _swept(sql, driver)
    assert [key for key in driver.listing() if key.startswith(mine)] == []
    if ending == "lost":
        assert driver.listing() == [driver.path.proposal_key("somebody-else")]


async def test_what_a_manifest_names_stays(steps: Steps, acme: Caller, sql: asyncpg.Connection) -> None:
    """Whatever the database says of the run: the manifest decides."""
    driver = await steps.running()
    await driver.make()
    await driver.failed(retryable=False)
    source = await acme.ok("GET", f"/v1/entities/{ENTITY}/versions/{VERSION}/datasets/source")
    manifest = Manifest.model_validate({name: source[name] for name in Manifest.model_fields})
    await driver.put(driver.path.manifest_key, manifest.model_copy(update={"run_id": driver.run_id}).to_bytes())
    before = driver.listing()
    await _age(sql, driver, "interval '30 days'")
    await _swept(sql, driver)
    assert driver.listing() == before


async def test_an_unreadable_manifest_stops_nobody_and_costs_nothing(steps: Steps, acme: Caller, sql: asyncpg.Connection) -> None:
    driver = await steps.running()
    await driver.make()
    await driver.put(driver.path.manifest_key, b"not a manifest")
    await driver.failed(retryable=False)
    before = driver.listing()
    await _age(sql, driver, "interval '30 days'")
    await _swept(sql, driver)
    assert driver.listing() == before, "nobody knows what it names"


async def test_a_tenant_without_its_bucket_stops_nobody(steps: Steps, acme: Caller, launcher: Launcher, sql: asyncpg.Connection) -> None:
    driver, other = await steps.running(1), await steps.running(2)
    proposed = await other.make()
    await sql.execute("UPDATE tenants SET bucket = 'there-is-no-such-bucket' WHERE id = $1", acme.tenant)
    await launcher.say("ended", driver.command, outcome="vanished")
    await acme.until_event(str(driver.command.process_id), "retrying")
    finished = await other.finished(proposed)
    assert finished.status_code == 200
    await acme.until(str(other.command.process_id), "failed")
    for one in (driver, other):
        await _age(sql, one, "interval '30 days'")
        await _swept(sql, one)


async def test_expired_uploads_lose_their_name_and_later_their_files(bare: Caller, platform: Installation, sql: asyncpg.Connection) -> None:
    upload = await bare.begin_upload()
    prefix = f"{bare.root.removeprefix('s3://stratum-test/')}"
    await sql.execute("UPDATE uploads SET expires_at = clock_timestamp() WHERE tenant = $1", bare.tenant)
    query = "SELECT state = 'expired' FROM uploads WHERE tenant = $1"
    await eventually(lambda: sql.fetchval(query, bare.tenant), what="the end of the upload")
    assert (await bare.post(f"{upload['path']}/seal")).status_code == 409
    assert (await bare.ingest())["rows"] == 4, "the name is free again"
    assert len(platform.storage.list("stratum-test", prefix)) == 3, "its files are kept for the grace"
    await sql.execute(f"UPDATE uploads SET expires_at = expires_at - {GRACE} - interval '1 minute' WHERE tenant = $1", bare.tenant)
    query = "SELECT count(*) = 1 FROM uploads WHERE tenant = $1 AND swept_at IS NOT NULL"
    await eventually(lambda: sql.fetchval(query, bare.tenant), what="the sweeper")
    left = [item.key for item in platform.storage.list("stratum-test", prefix)]
    assert len(left) == 2
    assert not [key for key in left if upload["upload_id"] in key]
