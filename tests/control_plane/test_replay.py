"""A failed process can be sent again at any later time, by today's catalog and today's inputs; what differs can be seen."""

from pathlib import Path
from uuid import UUID

import yaml

from tests.control_plane.caller import ENTITY, VERSION, Caller
from tests.control_plane.direct import directly
from tests.control_plane.installation import Installation
from tests.control_plane.waiting import eventually


def _catalog(image: str | None) -> str:
    action = {"name": "count", "description": "Count.", "image": image, "parameters": {"type": "object"}}
    return yaml.safe_dump({"actions": [action] if image else []})


async def test_a_retry_takes_the_catalog_of_its_own_time(still: Installation, tmp_path: Path) -> None:
    file = tmp_path / "count.yaml"
    file.write_text(_catalog("count:1"))
    body = {"entity_id": ENTITY, "data_version": VERSION, "action": "count", "parameters": {"deep": True}, "priority": 3}
    async with directly(still.but(catalog_dir=f"builtin:{tmp_path}")) as direct:
        caller = direct.caller
        first = (await caller.post("/v1/processes", body)).json()
        command = await direct.next_command()
        await (await direct.driver(command).started()).failed(retryable=False)
        # every row that another try needs outlives the last attempt
        await direct.sql("UPDATE processes SET created_at = created_at - interval '400 days'")

        file.write_text(_catalog("count:2"))
        before = first["action_revision"]
        await eventually(lambda: _other_revision(caller, before), what="the new revision")
        second = await caller.ok("POST", f"/v1/processes/{first['id']}/retry")
        assert (second["retry_of"], second["parameters"], second["priority"]) == (first["id"], {"deep": True}, 3)
        assert second["action_revision"] != first["action_revision"], "a reader sees that it is another revision"
        assert (await caller.events(second["id"]))[0]["data"]["action_revision"] == second["action_revision"]
        assert (await direct.next_command()).image == "count:2"
        assert (await caller.process(first["id"]))["action_revision"] == before
        await caller.post(f"/v1/processes/{second['id']}/cancel")
        await direct.say("ended", command.model_copy(update={"process_id": UUID(second["id"])}), outcome="absent")

        file.write_text(_catalog(None))
        await eventually(lambda: _gone(caller), what="the catalog without the action")
        refused = await caller.post(f"/v1/processes/{first['id']}/retry")
        assert (refused.status_code, "no action 'count'" in refused.json()["detail"]) == (422, True), "and says why it cannot"

        file.write_text(_catalog("count:1"))
        await eventually(lambda: _is_revision(caller, before), what="the first revision")
        third = await caller.ok("POST", f"/v1/processes/{first['id']}/retry")
        assert third["action_revision"] == before
        done = await direct.driver(await direct.next_command()).complete()
        assert await direct.seal()
        assert done.manifest() is not None
        assert (await caller.process(third["id"]))["state"] == "succeeded"


async def _revisions(caller: Caller) -> dict[str, str]:
    return {item["name"]: item["revision"] for item in (await caller.ok("GET", "/v1/actions"))["items"]}


async def _other_revision(caller: Caller, revision: str) -> bool:
    return (await _revisions(caller)).get("count", revision) != revision


async def _is_revision(caller: Caller, revision: str) -> bool:
    return (await _revisions(caller)).get("count") == revision


async def _gone(caller: Caller) -> bool:
    return "count" not in await _revisions(caller)
