"""Another tenant's things are as if they did not exist: every operation of the OpenAPI document, for every role."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import pytest_asyncio

from contracts.identifiers import new_id
from tests.control_plane.caller import ENTITY, VERSION, Caller, announced, condition
from tests.control_plane.installation import Installation
from tests.control_plane.steps import Steps

pytestmark = pytest.mark.security

ROLES = ("viewer", "operator", "admin")
Ids = Mapping[str, str]
NAMES_ONLY = {"entity_id", "data_version", "dataset"}
"""A name of another tenant is free here; what lies under it there is what must not be seen."""


@dataclass(frozen=True)
class Row:
    """How an operation is asked for something by its id."""

    path: str
    method: str
    body: Any = None


SAME_FOR_ALL = {"liveness", "readiness", "metrics", "public_keys", "database_time", "list_actions"}
OF_THE_CALLER = {
    "list_processes", "list_entities", "get_quota", "list_webhooks", "list_keys", "create_key", "read_webhook_secrets",
    "rotate_webhook_secret", "callback",
}  # fmt: skip
"""They name nothing but the caller's own; what they answer is looked through below."""
PROCESS = "/v1/processes/{process_id}"
DATASET = "/v1/entities/{entity_id}/versions/{data_version}/datasets/{dataset}"
BY_ID: dict[str, Row] = {
    "get_process": Row(PROCESS, "GET"),
    "list_events": Row(f"{PROCESS}/events", "GET"),
    "read_logs": Row(f"{PROCESS}/logs", "GET"),
    "cancel_process": Row(f"{PROCESS}/cancel", "POST"),
    "retry_process": Row(f"{PROCESS}/retry", "POST"),
    "list_versions": Row("/v1/entities/{entity_id}/versions", "GET"),
    "get_dataset": Row(DATASET, "GET"),
    "seal_upload": Row(f"{DATASET}/uploads/{{upload_id}}/seal", "POST"),
    "abandon_upload": Row(f"{DATASET}/uploads/{{upload_id}}", "DELETE"),
    "retire_dataset": Row(f"{DATASET}/retire", "POST", body={"reason": "old", "dry_run": True}),
    "get_webhook": Row("/v1/webhooks/{delivery_id}", "GET"),
    "replay_webhook": Row("/v1/webhooks/{delivery_id}/replay", "POST"),
    "rotate_key": Row("/v1/keys/{key_id}/rotate", "POST", body={}),
    "revoke_key": Row("/v1/keys/{key_id}/revoke", "POST"),
    "create_process": Row(
        "/v1/processes",
        "POST",
        body={"entity_id": "{entity_id}", "data_version": "{data_version}", "action": "filter", "parameters": condition(7)},
    ),
}
FREE_NAME = {"create_upload": Row(f"{DATASET}/uploads", "POST", body={"files": [announced("a.parquet", b"x")]})}
"""The name is another's dataset there, and free here."""


@dataclass(frozen=True)
class Theirs:
    """What another tenant has."""

    owner: Caller
    ids: Ids


@pytest_asyncio.fixture(loop_scope="session")
async def theirs(steps: Steps, acme: Caller) -> Theirs:
    driver = await steps.succeeded(1, callback_url="https://example.com/told")
    entity = f"only-{new_id().hex[:12]}"
    await acme.ingest(entity=entity)
    upload = await acme.begin_upload("open", entity=entity)
    delivery = (await acme.ok("GET", "/v1/webhooks"))["items"][0]
    key = (await acme.ok("GET", "/v1/keys"))["items"][0]
    ids = {
        "process_id": str(driver.command.process_id),
        "entity_id": entity,
        "data_version": VERSION,
        "dataset": "source",
        "upload_id": upload["upload_id"],
        "delivery_id": delivery["id"],
        "key_id": key["id"],
    }
    return Theirs(acme, ids)


def _absent(ids: Ids) -> dict[str, str]:
    """Ids of the same form and length that nobody has."""
    return {
        name: f"only-{new_id().hex[:12]}" if name == "entity_id" else value if name in NAMES_ONLY else str(new_id())
        for name, value in ids.items()
    }


def _filled(value: Any, ids: Ids) -> Any:
    if isinstance(value, dict):
        return {name: _filled(child, ids) for name, child in value.items()}
    return re.sub(r"\{(\w+)\}", lambda found: ids[found[1]], value) if isinstance(value, str) else value


async def _ask(caller: Caller, row: Row, ids: Ids) -> tuple[int, dict[str, str], str]:
    """Status, headers and body, the asked ids taken out: what is left must not tell one from the other."""
    ids = {**ids, "dataset": "open"} if "upload_id" in row.path else ids
    answer = await caller.request(row.method, _filled(row.path, ids), json=_filled(row.body, ids))
    headers = {name: value for name, value in answer.headers.items() if name not in ("x-trace-id", "date", "content-length")}
    body = answer.text
    for name, value in ids.items():
        if name not in ("data_version", "dataset"):
            body = body.replace(value, f"<{name}>")
    return answer.status_code, headers, body


async def test_every_operation_has_its_row(client: httpx.AsyncClient) -> None:
    """A new operation: say here how it is asked for a foreign thing, or that it names none."""
    document = (await client.get("/openapi.json")).json()
    operations = {operation["operationId"] for methods in document["paths"].values() for operation in methods.values()}
    assert operations == SAME_FOR_ALL | OF_THE_CALLER | BY_ID.keys() | FREE_NAME.keys()
    for path, methods in document["paths"].items():
        for operation in methods.values():
            if re.search(r"\{\w+_id\}", path):
                assert operation["operationId"] in BY_ID.keys() | FREE_NAME.keys(), f"{path} names something by its id"


@pytest.mark.parametrize("role", ROLES)
async def test_what_is_foreign_answers_as_what_does_not_exist(
    role: str, theirs: Theirs, platform: Installation, client: httpx.AsyncClient
) -> None:
    stranger = await platform.tenant(client, role=role)
    owner_process = f"/v1/processes/{theirs.ids['process_id']}"
    before = await theirs.owner.get(owner_process)
    allowed = 0
    for operation, row in BY_ID.items():
        foreign = await _ask(stranger, row, theirs.ids)
        absent = await _ask(stranger, row, _absent(theirs.ids))
        assert foreign == absent, operation
        assert foreign[0] in (404, 403), (operation, foreign)
        allowed += foreign[0] == 404
    assert allowed == {"viewer": 6, "operator": 12, "admin": 15}[role]
    assert (await theirs.owner.get(owner_process)).content == before.content
    assert {key["state"] for key in (await theirs.owner.ok("GET", "/v1/keys"))["items"]} == {"active"}


@pytest.mark.parametrize("role", ROLES)
async def test_what_is_ones_own_is_there(role: str, theirs: Theirs, platform: Installation, client: httpx.AsyncClient) -> None:
    """The matrix above means nothing if its requests are refused to everybody."""
    caller = await platform.tenant(client, theirs.owner.tenant, role=role)
    for operation, row in BY_ID.items():
        if operation in ("abandon_upload", "seal_upload", "revoke_key"):
            continue  # they end what the others ask for; they come last
        status, _, body = await _ask(caller, row, theirs.ids)
        assert status != 404, (operation, body)
    for operation in ("seal_upload", "abandon_upload", "revoke_key"):
        status, _, body = await _ask(caller, BY_ID[operation], theirs.ids)
        assert (status != 404, status == 403) == (True, caller_may_not(role, operation)), (operation, body)


def caller_may_not(role: str, operation: str) -> bool:
    return role == "viewer" or (role == "operator" and operation == "revoke_key")


async def test_a_name_that_another_tenant_has_is_free(theirs: Theirs, platform: Installation, client: httpx.AsyncClient) -> None:
    stranger = await platform.tenant(client)
    row = FREE_NAME["create_upload"]
    taken = await theirs.owner.request(row.method, _filled(row.path, theirs.ids), json=row.body)
    free = await stranger.request(row.method, _filled(row.path, theirs.ids), json=row.body)
    assert (taken.status_code, free.status_code) == (409, 201)
    url = free.json()["files"][0]["url"]
    assert f"/{stranger.tenant}/" in url
    assert f"/{theirs.owner.tenant}/" not in url


async def test_lists_name_nothing_foreign(theirs: Theirs, platform: Installation, client: httpx.AsyncClient) -> None:
    stranger = await platform.tenant(client)
    secrets = {
        theirs.owner.tenant,
        theirs.owner.key,
        *(value for name, value in theirs.ids.items() if name not in ("data_version", "dataset")),
    }
    for path in ("/v1/processes", "/v1/entities", "/v1/quota", "/v1/webhooks", "/v1/keys", "/v1/actions", "/v1/webhooks/secret"):
        text = (await stranger.get(path)).text
        assert [secret for secret in secrets if secret in text] == [], path
    filters = {"entity_id": theirs.ids["entity_id"]}
    assert (await stranger.get("/v1/processes", params=filters)).json()["items"] == []
    assert (await stranger.get("/v1/webhooks", params={"process_id": theirs.ids["process_id"]})).json()["items"] == []


async def test_presigned_links_are_for_own_objects_alone(theirs: Theirs, acme: Caller) -> None:
    dataset = await acme.ok("GET", _filled(DATASET, theirs.ids))
    assert dataset["urls"]
    for link in dataset["urls"]:
        assert f"/{acme.tenant}/" in link["url"].partition("?")[0]


async def test_cursors_of_another_tenant_lead_only_through_ones_own(
    theirs: Theirs, platform: Installation, client: httpx.AsyncClient
) -> None:
    stranger = await platform.tenant(client)
    await stranger.ingest(entity=ENTITY)
    for number in range(3):
        await stranger.accepted(number)
    own = {item["id"] for item in (await stranger.ok("GET", "/v1/processes"))["items"]}
    for path in ("/v1/processes", "/v1/entities", "/v1/webhooks", "/v1/keys"):
        await theirs.owner.post("/v1/keys", {"name": "second", "role": "viewer"})
        page = (await theirs.owner.get(path, params={"limit": 1})).json()
        if page["next_cursor"] is None:
            continue
        answer = await stranger.get(path, params={"cursor": page["next_cursor"]})
        assert answer.status_code == 200, answer.text
        found = {item.get("id") for item in answer.json()["items"]}
        if path == "/v1/processes":
            assert found <= own
        assert not found & {item.get("id") for item in (await theirs.owner.get(path)).json()["items"] if "id" in item}


async def test_an_idempotency_key_is_its_tenants_own(theirs: Theirs, platform: Installation, client: httpx.AsyncClient) -> None:
    stranger = await platform.tenant(client)
    await stranger.ingest()
    body = {"entity_id": ENTITY, "data_version": VERSION, "action": "filter", "parameters": condition(3), "output_dataset": "keyed"}
    headers = {"Idempotency-Key": "the-same-key"}
    first = await theirs.owner.post("/v1/processes", body, headers=headers)
    other = await stranger.post("/v1/processes", {**body, "parameters": condition(4)}, headers=headers)
    assert (first.status_code, other.status_code) == (202, 202), other.text
    assert first.json()["id"] != other.json()["id"]
