"""The catalog changes without a restart, and never under work that was accepted."""

import shutil
from pathlib import Path

import yaml

from contracts.catalog import DEFAULT_FOLDER
from tests.control_plane.caller import ENTITY, VERSION, Caller
from tests.control_plane.driver import Driver
from tests.control_plane.installation import Installation, prepare_topics, running
from tests.control_plane.launcher import following
from tests.control_plane.waiting import eventually


def _count(image: str) -> str:
    """A catalog file with an action of that image."""
    action = {"name": "count", "description": "Count.", "image": image, "parameters": {"type": "object", "additionalProperties": False}}
    return yaml.safe_dump({"actions": [action]})


async def _actions(acme: Caller) -> dict[str, str]:
    return {item["name"]: item["revision"] for item in (await acme.ok("GET", "/v1/actions"))["items"]}


async def test_the_catalog_is_read_again_when_it_changes(still: Installation, tmp_path: Path) -> None:
    folder = tmp_path / "catalog"
    shutil.copytree(DEFAULT_FOLDER, folder)
    prepare_topics(still)
    installation = still.but(catalog_dir=folder)
    body = {"entity_id": ENTITY, "data_version": VERSION, "action": "count"}
    async with installation.api() as client:
        acme = await installation.tenant(client)
        await acme.ingest()
        before = await _actions(acme)
        assert "count" not in before
        assert (await acme.post("/v1/processes", body)).status_code == 422

        (folder / "count.yaml").write_text(_count("count:1"))
        await eventually(lambda: _has(acme, "count"), what="the new action")
        first = (await acme.post("/v1/processes", body)).json()

        (folder / "count.yaml").write_text("actions: [{name: count, image: ")
        (folder / "filter.yaml").write_text("actions: [{name: filter}]")
        with running(installation.relay()), following(installation) as launcher:
            command = await launcher.command(first["id"])
            assert command.image == "count:1"
            assert await _actions(acme) == before | {"count": first["action_revision"]}, "the last good one stays"

            (folder / "filter.yaml").write_text((DEFAULT_FOLDER / "filter.yaml").read_text())
            (folder / "count.yaml").write_text(_count("count:2"))
            await eventually(lambda: _revised(acme, first["action_revision"]), what="the new revision")
            other = await acme.post("/v1/processes", body)
            assert (other.status_code, other.json()["owner_process_id"]) == (409, first["id"]), "another revision is other work"
            second = (await acme.post("/v1/processes", {**body, "output_dataset": "count-2"})).json()
            assert (await launcher.command(second["id"])).image == "count:2"
            driver = await Driver(client, installation, command).started()
            assert (await driver.failed(retryable=True)).status_code == 200
            again = await launcher.command(first["id"], attempt=2)
            assert (again.image, again.action_revision) == ("count:1", first["action_revision"]), "work under way keeps its revision"


async def _has(acme: Caller, action: str) -> bool:
    return action in await _actions(acme)


async def _revised(acme: Caller, revision: str) -> bool:
    return (await _actions(acme))["count"] != revision
