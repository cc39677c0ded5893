"""The main job, with the test as launcher and driver."""

import io
import json

import httpx
import pyarrow.parquet as pq

from contracts.command import Command
from contracts.manifest import Manifest
from tests.control_plane.caller import BUCKET, ENTITY, TABLE, VERSION, Caller
from tests.control_plane.driver import Driver
from tests.control_plane.installation import Installation
from tests.control_plane.launcher import PROFILE, Launcher


async def test_from_the_request_to_the_sealed_dataset(
    platform: Installation, client: httpx.AsyncClient, acme: Caller, launcher: Launcher
) -> None:
    answer = await acme.run(1, labels={"team": "data"}, priority=3)
    assert answer.status_code == 202
    process_id = answer.json()["id"]
    assert answer.headers["Location"] == f"/v1/processes/{process_id}"

    command = await launcher.command(process_id)
    await launcher.say("submitted", command)
    await acme.until(process_id, "submitted")
    driver = await Driver(client, platform, command).started()
    running = await acme.process(process_id)
    assert running["state"] == "running"
    assert running["queue"] is None
    assert running["attempts"][0]["run_id"] == driver.run_id
    assert running["attempts"][0]["resource_profile"] == PROFILE
    assert running["metrics"] == dict.fromkeys(("rows_in", "rows_out", "bytes_in", "bytes_out", "seconds"))
    assert (await driver.heartbeat(fraction=0.5, stage="writing")).status_code == 200
    assert (await acme.process(process_id))["attempts"][0]["progress"] == {"fraction": 0.5, "stage": "writing"}
    assert (await driver.finished(await driver.make())).json()["state"] == "sealing"
    done = await acme.until(process_id, "succeeded")
    await launcher.say("ended", command)
    await launcher.caught_up()

    assert await acme.history(process_id) == ["accepted", "queued", "submitted", "running", "sealing", "succeeded"]
    assert (await acme.process(process_id)) == done
    assert done["metrics"] == {"rows_in": 4, "rows_out": 4, "bytes_in": 100, "bytes_out": 200, "seconds": 1.5}
    assert [(a["number"], a["state"]) for a in done["attempts"]] == [(1, "succeeded")]
    assert done["created_at"] <= done["attempts"][0]["started_at"] <= done["attempts"][0]["ended_at"] <= done["ended_at"]
    folder = f"s3://{BUCKET}/{driver.path.run_prefix(driver.run_id)}"
    (artifact,) = done["artifacts"]
    assert artifact == {
        "dataset": "filter",
        "data_version": VERSION,
        "location": folder,
        "manifest": f"s3://{BUCKET}/{driver.path.manifest_key}",
        "rows": 4,
        "bytes": driver.store.head_object(Bucket=BUCKET, Key=driver.path.run_prefix(driver.run_id) + "part-00000.zstd.parquet")[
            "ContentLength"
        ],
        "content_fingerprint": "v1:00000000000000ff",
    }


async def test_the_command_says_all_that_was_accepted(platform: Installation, acme: Caller, launcher: Launcher) -> None:
    source = await acme.ok("GET", f"/v1/entities/{ENTITY}/versions/{VERSION}/datasets/source")
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    body = {
        "entity_id": ENTITY,
        "data_version": VERSION,
        "action": "filter",
        "parameters": {"condition": "delay > 7"},
        "resource_profile": {"executor_instances": 2},
    }
    accepted = (await acme.post("/v1/processes", body, headers={"traceparent": traceparent})).json()
    command = await launcher.command(accepted["id"])

    assert command == Command.model_validate_json(command.model_dump_json())
    assert (command.tenant, command.step, command.attempt, command.entity_id, command.data_version) == (acme.tenant, 0, 1, ENTITY, VERSION)
    assert command.action_revision == accepted["action_revision"]
    assert command.parameters == {"condition": "delay > 7"}
    assert command.output.model_dump() == {"data_version": VERSION, "dataset": "filter"}
    assert [i.model_dump() for i in command.inputs] == [
        {
            "view": "source",
            "data_version": VERSION,
            "dataset": "source",
            "manifest_sha256": source["manifest_sha256"],
            "bytes": source["bytes"],
            "rows": 4,
        }
    ]
    assert command.storage_root == acme.root.rstrip("/")
    assert str(command.callback_url) == "http://stratum.test/v1/processes/callback"
    assert command.resource_profile is not None
    assert command.resource_profile.executor_instances == 2
    assert command.process_chain == ()
    assert command.traceparent == traceparent
    message = next(m for m in launcher.received[launcher.topics.commands] if json.loads(m.value())["process_id"] == accepted["id"])
    assert message.key() == accepted["id"].encode()
    assert dict(message.headers())["traceparent"] == traceparent.encode()
    claims = platform.keys.verify(command.flow_token, "stratum:start", now=None)
    assert (claims.tenant, str(claims.process_id), claims.step, claims.attempt, claims.run_id) == (acme.tenant, accepted["id"], 0, 1, None)
    assert claims.exp == command.start_before


async def test_the_manifest_tells_everything_and_its_urls_read(
    platform: Installation, client: httpx.AsyncClient, acme: Caller, launcher: Launcher
) -> None:
    accepted = await acme.accepted(1)
    command = await launcher.command(accepted["id"])
    driver = await Driver(client, platform, command).complete()
    await acme.until(accepted["id"], "succeeded")

    body = driver.manifest()
    assert body is not None
    manifest = Manifest.model_validate_json(body)
    assert manifest.to_bytes() == body
    assert (manifest.tenant, manifest.entity_id, manifest.data_version, manifest.dataset) == (acme.tenant, ENTITY, VERSION, "filtered-1")
    assert (str(manifest.process_id), manifest.step, manifest.attempt, manifest.run_id) == (accepted["id"], 0, 1, driver.run_id)
    assert (manifest.action, manifest.action_revision, manifest.parameters) == ("filter", command.action_revision, command.parameters)
    assert manifest.inputs == command.inputs
    assert (manifest.image, manifest.code_version, manifest.spark_version) == (command.image, "0.1.0", "4.1.2")
    assert (manifest.rows, len(manifest.files)) == (4, 1)

    dataset = await acme.ok("GET", f"/v1/entities/{ENTITY}/versions/{VERSION}/datasets/filtered-1")
    shown = {name: dataset[name] for name in json.loads(body)}
    assert shown == json.loads(body)
    assert [url["key"] for url in dataset["urls"]] == [file.key for file in manifest.files]
    async with httpx.AsyncClient() as store:
        data = (await store.get(dataset["urls"][0]["url"])).raise_for_status().content
    assert len(data) == manifest.files[0].size
    assert pq.read_table(io.BytesIO(data)) == TABLE


async def test_the_data_is_listed(platform: Installation, client: httpx.AsyncClient, acme: Caller, launcher: Launcher) -> None:
    accepted = await acme.accepted(1, output_data_version="v2")
    await Driver(client, platform, await launcher.command(accepted["id"])).complete()
    await acme.until(accepted["id"], "succeeded")
    await acme.ingest(entity="another")

    entities = await acme.ok("GET", "/v1/entities?limit=1")
    assert [(e["entity_id"], e["versions"], e["datasets"]) for e in entities["items"]] == [("another", 1, 1)]
    entities = await acme.ok("GET", f"/v1/entities?limit=1&cursor={entities['next_cursor']}")
    assert [(e["entity_id"], e["versions"], e["datasets"]) for e in entities["items"]] == [(ENTITY, 2, 2)]
    assert entities["next_cursor"] is None
    versions = await acme.ok("GET", f"/v1/entities/{ENTITY}/versions")
    assert [(v["data_version"], [(d["dataset"], d["rows"], d["process_id"]) for d in v["datasets"]]) for v in versions["items"]] == [
        ("v2", [("filtered-1", 4, accepted["id"])]),
        (VERSION, [("source", 4, None)]),
    ]


async def test_the_same_work_is_the_same_process(
    platform: Installation, client: httpx.AsyncClient, acme: Caller, launcher: Launcher
) -> None:
    first = (await acme.run(1)).json()
    again = await acme.run(1)
    assert (again.status_code, again.json()["id"]) == (200, first["id"])
    await Driver(client, platform, await launcher.command(first["id"])).complete()
    done = await acme.until(first["id"], "succeeded")
    after = await acme.run(1)
    assert (after.status_code, after.json()) == (200, done)
    assert len(launcher.commands(first["id"])) == 1


async def test_processes_are_listed_newest_first(acme: Caller) -> None:
    ids = [(await acme.accepted(number, labels={"n": str(number)}))["id"] for number in range(5)]
    page = await acme.ok("GET", "/v1/processes?limit=2")
    seen = [item["id"] for item in page["items"]]
    while page["next_cursor"]:
        page = await acme.ok("GET", f"/v1/processes?limit=2&cursor={page['next_cursor']}")
        seen += [item["id"] for item in page["items"]]
    assert seen == ids[::-1]
    assert (await acme.ok("GET", "/v1/processes?action=sql"))["items"] == []
    assert len((await acme.ok("GET", f"/v1/processes?entity_id={ENTITY}&action=filter"))["items"]) == 5
    assert (await acme.ok("GET", "/v1/processes?state=failed"))["items"] == []
    assert (await acme.get("/v1/processes?cursor=nonsense")).status_code == 422
    assert (await acme.get("/v1/processes?state=sleeping")).json()["errors"][0]["pointer"] == "/query/state"


async def test_a_path_with_a_slash_too_many_is_told_so(still: Installation) -> None:
    """A redirect without a document is nothing that a program understands."""
    async with still.api() as client:
        caller = await still.tenant(client)
        answer = await caller.get("/v1/processes/")
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
