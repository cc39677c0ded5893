"""What a tenant may use: held processes, executor cores in flight, stored bytes; and that each refusal says what to do."""

import asyncio
from typing import Any

import asyncpg
import httpx
import pytest

from control_plane import seal, tenants
from control_plane.database import Database, queries
from control_plane.errors import StorageUnavailable
from tests.control_plane.caller import BUCKET, ENTITY, VERSION, Caller, announced, parquet
from tests.control_plane.commands import run
from tests.control_plane.installation import Installation
from tests.control_plane.steps import Steps


async def limit(installation: Installation, caller: Caller, **limits: int | None) -> None:
    async with installation.sql() as sql:
        for name, value in limits.items():
            await sql.execute(f"UPDATE tenants SET {name} = $2 WHERE id = $1", caller.tenant, value)


async def release(still: Installation, most: int = 1000) -> int:
    database = Database(still.relay_settings)
    try:
        async with database.connection() as connection:
            return int(await queries.release(connection, max_in_flight=most))
    finally:
        await database.close()


async def wants(caller: Caller, number: int, executors: int, **fields: Any) -> httpx.Response:
    """A process of `executors` executors of 2 cores each."""
    profile = {"executor_instances": executors, "executor_cores": 2}
    return await caller.run(number, output_dataset=f"filtered-{number}", resource_profile=profile, **fields)


async def test_one_more_held_than_may_is_refused(still: Installation) -> None:
    async with still.api() as client:
        caller = await still.tenant(client)
        await caller.ingest()
        await limit(still, caller, max_held=3)
        answers = await asyncio.gather(*(caller.run(number, output_dataset=f"d-{number}") for number in range(10)))
        assert sorted(answer.status_code for answer in answers) == [202] * 3 + [429] * 7, "exact, however many come at once"
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert refused.json()["type"] == "urn:stratum:problem:too-many-held"
        assert "3 of 3" in refused.json()["detail"]
        assert int(refused.headers["retry-after"]) >= 1
        held = [answer for answer in answers if answer.status_code == 202]
        number = answers.index(held[0])
        again = await caller.run(number, output_dataset=f"d-{number}")
        assert (again.status_code, again.json()["id"]) == (200, held[0].json()["id"]), "work that is there already takes no place"
        assert await release(still, most=1) == 1
        assert (await caller.run(99, output_dataset="d-99")).status_code == 202
        other = await still.tenant(client)
        await other.ingest()
        assert (await other.run(1)).status_code == 202, "another tenant's quota is its own"


async def test_executor_cores_hold_back_at_admission(still: Installation) -> None:
    async with still.api() as client:
        caller = await still.tenant(client)
        await caller.ingest()
        await limit(still, caller, max_executor_cores=16)
        ids = [(await wants(caller, number, executors)).json()["id"] for number, executors in enumerate((4, 3, 2, 1))]
        assert (await caller.process(ids[2]))["queue"]["cause"] == (
            "quota max_executor_cores: 0 of 16 executor cores of the tenant are in flight, this process takes 4"
        )
        assert await release(still) == 2, "8 + 6 cores"
        cause = "quota max_executor_cores: 14 of 16 executor cores of the tenant are in flight, this process takes 4"
        assert (await caller.process(ids[2]))["queue"] == {"place": 1, "cause": cause}
        listed = {item["id"]: item["queue"] for item in (await caller.ok("GET", "/v1/processes"))["items"]}
        assert listed[ids[2]] == {"place": 1, "cause": cause}
        assert await release(still) == 0, "a small one does not pass the one before it, which would wait for ever"
        async with still.sql() as sql:
            await _end(sql, ids[1])
        assert await release(still) == 2, "8 + 4 + 2 cores"
        quota = await caller.ok("GET", "/v1/quota")
        assert quota["executor_cores"] == {"limit": 16, "used": 14}
        assert (quota["in_flight"]["used"], quota["held"]) == (3, {"limit": None, "used": 0})


async def _end(sql: asyncpg.Connection, process_id: str) -> None:
    await sql.execute("UPDATE attempts SET state = 'failed', rank = 60, ended_at = now() WHERE process_id = $1", process_id)
    await sql.execute("UPDATE processes SET state = 'failed', ended_at = now() WHERE id = $1", process_id)


async def test_what_is_larger_than_all_cores_is_refused(still: Installation) -> None:
    async with still.api() as client:
        caller = await still.tenant(client)
        await caller.ingest()
        await limit(still, caller, max_executor_cores=4)
        refused = await wants(caller, 1, 3)
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/resource_profile/executor_instances")
        assert "6 executor cores" in refused.json()["detail"]
        small, large = (await wants(caller, 2, 1)).json()["id"], (await wants(caller, 3, 2, priority=9)).json()["id"]
        await limit(still, caller, max_executor_cores=3)
        assert await release(still) == 1, "accepted before the quota was lowered: it runs alone"
        assert (await caller.process(large))["state"] == "queued"
        assert await release(still) == 0
        async with still.sql() as sql:
            await _end(sql, large)
        assert await release(still) == 1
        assert (await caller.process(small))["state"] == "queued"


async def test_cores_are_those_that_the_launcher_will_give(still: Installation) -> None:
    """No resources asked for: sized from the input, as the launcher does."""
    async with still.api() as client, still.sql() as sql:
        caller = await still.tenant(client)
        await caller.ingest()
        process = await caller.accepted(1)
        stored = await sql.fetchval("SELECT executor_cores FROM steps WHERE process_id = $1", process["id"])
        profile = (await caller.ok("GET", "/v1/quota"))["executor_cores"]
        assert (stored, profile["used"]) == (2, 0), "one executor of the profile `standard`"
        await release(still)
        assert (await caller.ok("GET", "/v1/quota"))["executor_cores"]["used"] == 2


async def test_stored_bytes_are_kept(still: Installation) -> None:
    async with still.api() as client, still.sql() as sql:
        caller = await still.tenant(client)
        first = await caller.ingest()
        second = await caller.ingest("more")
        used = (await caller.ok("GET", "/v1/quota"))["stored_bytes"]
        assert used == {"limit": None, "used": first["bytes"] + second["bytes"]}
        assert used["used"] == await sql.fetchval("SELECT sum(bytes) FROM datasets WHERE tenant = $1", caller.tenant)
        await sql.execute("DELETE FROM datasets WHERE tenant = $1 AND dataset = 'more'", caller.tenant)
        assert (await caller.ok("GET", "/v1/quota"))["stored_bytes"]["used"] == first["bytes"]


async def test_a_full_store_refuses_uploads_and_processes(still: Installation) -> None:
    async with still.api() as client:
        caller = await still.tenant(client)
        stored = (await caller.ingest())["bytes"]
        begun = await caller.begin_upload("begun")
        size = len(parquet())
        await limit(still, caller, max_stored_bytes=stored + size - 1)
        path = begun["path"].rsplit("/", 1)[0].replace("/begun/", "/other/")
        upload = await caller.post(path, {"files": [announced("a.parquet", parquet())]})
        assert (upload.status_code, upload.json()["type"]) == (409, "urn:stratum:problem:storage-used-up")
        assert f"{stored} of {stored + size - 1} bytes are stored, this upload has {size}" in upload.json()["detail"]
        assert (await caller.post(f"{begun['path']}/seal")).status_code == 409, "several at once do not pass it together"
        running = await caller.run(1)
        assert running.status_code == 202, "there is room yet"
        await limit(still, caller, max_stored_bytes=stored)
        refused = await caller.run(2, output_dataset="b")
        assert (refused.status_code, refused.json()["type"]) == (409, "urn:stratum:problem:storage-used-up")
        assert f"{stored} of {stored} bytes" in refused.json()["detail"]
        assert (await caller.run(1)).json()["id"] == running.json()["id"], "work that is there already stores nothing more"
        await limit(still, caller, max_stored_bytes=None)
        assert (await caller.post(f"{begun['path']}/seal")).status_code == 200


async def test_seals_at_once_do_not_cross_the_quota_together(still: Installation) -> None:
    size = len(parquet())
    async with still.api() as client:
        caller = await still.tenant(client)
        begun = [await caller.begin_upload(f"d-{number}") for number in range(6)]
        await limit(still, caller, max_stored_bytes=2 * size)
        answers = await asyncio.gather(*(caller.post(f"{upload['path']}/seal") for upload in begun))
        assert sorted(answer.status_code for answer in answers) == [200] * 2 + [409] * 4
        assert {answer.json()["type"] for answer in answers if answer.status_code == 409} == {"urn:stratum:problem:storage-used-up"}
        assert (await caller.ok("GET", "/v1/quota"))["stored_bytes"] == {"limit": 2 * size, "used": 2 * size}
        for number, answer in enumerate(answers):
            dataset = await caller.get(f"/v1/entities/{ENTITY}/versions/{VERSION}/datasets/d-{number}")
            assert dataset.status_code == (200 if answer.status_code == 200 else 404), "nothing is half visible"
        manifests = [item for item in still.storage.list(BUCKET, _prefix(caller)) if item.key.endswith("_manifest.json")]
        assert len(manifests) == 2
        await limit(still, caller, max_stored_bytes=None)
        refused = [upload for upload, answer in zip(begun, answers, strict=True) if answer.status_code == 409]
        again = [await caller.post(f"{upload['path']}/seal") for upload in refused]
        assert [answer.status_code for answer in again] == [200] * 4, "their files are kept while the upload is open"


def _prefix(caller: Caller) -> str:
    return caller.root.removeprefix(f"s3://{BUCKET}/")


async def test_bytes_of_a_manifest_on_its_way_are_counted(still: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the mark on the seal may have gone through: it keeps its bytes, and is never refused for want of them."""
    size = len(parquet())
    async with still.api() as client:
        caller = await still.tenant(client)
        first, second = await caller.begin_upload("first"), await caller.begin_upload("second")
        await limit(still, caller, max_stored_bytes=size)

        def lost(*_: Any) -> None:
            raise StorageUnavailable("the answer was lost")

        with monkeypatch.context() as away:
            away.setattr(seal, "put_manifest", lost)
            assert (await caller.post(f"{first['path']}/seal")).status_code == 503
        refused = await caller.post(f"{second['path']}/seal")
        assert (refused.status_code, refused.json()["type"]) == (409, "urn:stratum:problem:storage-used-up")
        assert f"{size} of {size} bytes are stored or being sealed" in refused.json()["detail"]
        await limit(still, caller, max_stored_bytes=1)
        assert (await caller.post(f"{first['path']}/seal")).status_code == 200
        await limit(still, caller, max_stored_bytes=2 * size)
        assert (await caller.post(f"{second['path']}/seal")).status_code == 200, "its bytes are counted once"


async def test_a_mark_that_came_to_nothing_is_counted_until_the_upload_is_over(still: Installation) -> None:
    size = len(parquet())
    async with still.api() as client, still.sql() as sql:
        caller = await still.tenant(client)
        first, second = await caller.begin_upload("first"), await caller.begin_upload("second")
        await limit(still, caller, max_stored_bytes=size)
        await sql.execute("UPDATE uploads SET manifest_put_at = clock_timestamp() - interval '6 minutes' WHERE id = $1", first["upload_id"])
        assert (await caller.post(f"{second['path']}/seal")).status_code == 409
        assert (await caller.request("DELETE", first["path"])).status_code == 204
        assert (await caller.post(f"{second['path']}/seal")).status_code == 200


async def test_a_run_that_crosses_the_quota_is_sealed(steps: Steps, acme: Caller) -> None:
    driver = await steps.running(1)
    stored = (await acme.ok("GET", "/v1/quota"))["stored_bytes"]["used"]
    await limit(steps.installation, acme, max_stored_bytes=stored)
    assert (await driver.finished(await driver.make())).status_code == 200
    done = await acme.until(str(driver.command.process_id), "succeeded")
    assert (await acme.ok("GET", "/v1/quota"))["stored_bytes"]["used"] == stored + done["artifacts"][0]["bytes"] > stored
    assert (await acme.run(2, output_dataset="b")).status_code == 409


async def test_provision_sets_limits(still: Installation, tmp_path: Any) -> None:
    key = tmp_path / "key"
    key.write_text("k" * 24)
    options = ("provision", "--tenant", "acme", "--bucket", "stratum-test", "--prefix", "q/", "--api-key-file", str(key))

    async def limits() -> tuple[Any, ...]:
        async with still.sql() as sql:
            return tuple(await sql.fetchrow("SELECT max_in_flight, max_held, max_executor_cores, max_stored_bytes FROM tenants"))

    code, output = await run(still, *options, "--max-held", "7", "--max-stored-bytes", "1000000000000")
    assert code == 0, output
    assert await limits() == (1000, 7, None, 10**12)
    code, output = await run(still, *options, "--max-held", "none", "--max-executor-cores", "64")
    assert code == 0, output
    assert await limits() == (1000, None, 64, 10**12), "what is not named stays"
    code, output = await run(still, *options, "--max-held", "0")
    assert (code, "'0' is neither a number from 1 on nor `none`" in output) == (1, True)
    assert await limits() == (1000, None, 64, 10**12)


@pytest.mark.parametrize("text", ["", "-1", "1.5", "None", "0"])
def test_what_is_no_limit(text: str) -> None:
    with pytest.raises(ValueError, match="neither"):
        tenants.limit(text)
