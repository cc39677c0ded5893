"""What no command could say is refused while its sender still listens: views of inputs, tenants' names and places, the API's address."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from contracts.catalog import DEFAULT_FOLDER
from control_plane.errors import ControlPlaneError
from control_plane.tenants import judge_storage, provision
from tests.control_plane.caller import BUCKET, ENTITY, VERSION, Caller
from tests.control_plane.installation import Installation


def _free_action(folder: Path) -> Path:
    """A catalog folder with `report`, whose author left open what its inputs are called, and of what kind they are."""
    action = yaml.safe_load((DEFAULT_FOLDER / "sql.yaml").read_text())["actions"][0]
    action |= {"name": "report", "examples": [], "parameters": {"type": "object", "properties": {"inputs": {}}}}
    del action["query_parameter"]
    folder.mkdir()
    (folder / "report.yaml").write_text(yaml.safe_dump({"actions": [action]}))
    return folder


@asynccontextmanager
async def _reporting(still: Installation, folder: Path) -> AsyncIterator[Caller]:
    installation = still.but(catalog_dir=(DEFAULT_FOLDER, _free_action(folder)))
    async with installation.api() as client:
        caller = await installation.tenant(client)
        await caller.ingest()
        yield caller


def _body(inputs: Any) -> dict[str, Any]:
    return {"entity_id": ENTITY, "data_version": VERSION, "action": "report", "parameters": {"inputs": inputs}}


async def test_a_view_that_no_command_can_name_is_refused_with_its_place(still: Installation, tmp_path: Path) -> None:
    async with _reporting(still, tmp_path / "catalog") as caller:
        for inputs, place in (
            ({"no view; ": "source"}, "/inputs/no view; "),
            ({"fine": "source", "a/~b": "source"}, "/inputs/a~1~0b"),
            ({"x" * 129: "source"}, f"/inputs/{'x' * 129}"),
            ({"fine": 7}, "/inputs/fine"),
            (["source"], "/inputs"),
            ("source", "/inputs"),
        ):
            answer = await caller.post("/v1/processes", _body(inputs))
            assert answer.status_code == 422, answer.text
            assert [error["pointer"] for error in answer.json()["errors"]] == [f"/parameters{place}"]
        assert (await caller.post("/v1/processes", _body({"fine": "source", "b.c-d": "source"}))).status_code == 202


PLACES = [
    {"tenant": "Acme"},
    {"tenant": "acme\n"},
    {"bucket": "Lake"},
    {"prefix": "my data/"},
    {"prefix": "tenant=acme/"},
    {"prefix": "*/"},
    {"prefix": "acme"},
    {"prefix": "a/../b/"},
]


@pytest.mark.parametrize("wrong", PLACES, ids=str)
async def test_a_tenant_that_no_command_can_name_is_not_made(still: Installation, wrong: dict[str, str]) -> None:
    place = {"tenant": "acme", "bucket": BUCKET, "prefix": "acme/", **wrong}
    for made in (
        provision(still.api_settings, **place, max_in_flight=1, key=secrets.token_urlsafe(24), role="admin"),
        judge_storage(still.api_settings, **place),
    ):
        with pytest.raises(ControlPlaneError, match=r"is no name of a tenant|the bucket|the storage prefix"):
            await made
    async with still.sql() as sql:
        assert await sql.fetchval("SELECT count(*) FROM tenants") == 0


async def test_a_root_from_before_it_was_judged_is_told_at_once(still: Installation) -> None:
    async with still.api() as client, still.sql() as sql:
        caller = await still.tenant(client)
        await caller.ingest()
        await sql.execute("UPDATE tenants SET prefix = prefix || 'my data/' WHERE id = $1", caller.tenant)
        answer = await caller.run()
        assert (answer.status_code, "my data/" in answer.json()["detail"]) == (409, True), answer.text


@pytest.mark.parametrize("address", ["http://control_plane:8080", "http://user@stratum", "ftp://stratum"])
def test_an_address_that_no_command_can_name_does_not_become_a_setting(still: Installation, address: str) -> None:
    with pytest.raises(ValidationError, match="callback_base_url"):
        still.but(callback_base_url=address).relay_settings  # noqa: B018
