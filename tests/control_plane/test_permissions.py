"""The table says who may call what, and the API does what it says."""

from collections.abc import Iterator
from typing import Any, get_args

import httpx
import pytest

from contracts.api_keys import Role
from contracts.identifiers import new_id
from control_plane.api import permissions
from control_plane.errors import ControlPlaneError
from tests.control_plane.caller import ENTITY, VERSION, Caller
from tests.control_plane.installation import Installation

ROLES: tuple[Role, ...] = get_args(Role)
PLACES = {"entity_id": ENTITY, "data_version": VERSION, "dataset": "other"}


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Id, method and a path of every operation."""
    for path, methods in document["paths"].items():
        for name in ("process_id", "upload_id", "key_id", "delivery_id"):
            path = path.replace(f"{{{name}}}", str(new_id()))
        for name, value in PLACES.items():
            path = path.replace(f"{{{name}}}", value)
        assert "{" not in path, f"the test does not know what to call {path} with"
        for method, operation in methods.items():
            yield operation["operationId"], method.upper(), path


async def test_every_operation_is_in_the_table_and_says_so(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    served = {operation["operationId"]: operation for methods in document["paths"].values() for operation in methods.values()}
    assert served.keys() == permissions.TABLE.keys()
    assert {name: operation["x-stratum-access"] for name, operation in served.items()} == dict(permissions.TABLE)


def test_an_api_that_differs_from_the_table_is_refused() -> None:
    served = set(permissions.TABLE)
    permissions.check_complete(served)
    for wrong in (served | {"new_operation"}, served - {"get_process"}):
        with pytest.raises(ControlPlaneError, match=r"permissions.py and the API differ in: (new_operation|get_process)$"):
            permissions.check_complete(wrong)
    assert not permissions.may("admin", "new_operation")


@pytest.mark.parametrize("role", [*ROLES, None])
async def test_every_operation_with_every_role(role: Role | None, bare: Caller, platform: Installation, client: httpx.AsyncClient) -> None:
    key = (await platform.tenant(client, bare.tenant, role=role)).key if role is not None else None
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    for operation, method, path in operations((await client.get("/openapi.json")).json()):
        access = permissions.TABLE[operation]
        # nothing is done by an empty body: whoever may call the operation is told what is wrong with it
        answer = await client.request(method, path, headers=headers, json={} if method == "POST" else None)
        seen = (operation, role, answer.status_code, answer.text[:200])
        assert answer.status_code < 500, seen
        if access == "anyone":
            assert answer.status_code == 200, seen
        elif access == "run" or role is None:
            assert answer.status_code == 401, seen
        elif ROLES.index(role) >= ROLES.index(access):
            assert answer.status_code not in (401, 403), seen
        else:
            assert (answer.status_code, answer.json()["type"]) == (403, "urn:stratum:problem:forbidden"), seen
            assert access in answer.json()["detail"], seen


@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_all_that_a_lesser_one_may(role: Role) -> None:
    allowed = {name for name in permissions.TABLE if permissions.may(role, name)}
    lesser = [each for each in ROLES if ROLES.index(each) < ROLES.index(role)]
    for each in lesser:
        assert {name for name in permissions.TABLE if permissions.may(each, name)} < allowed
    assert not {name for name in allowed if permissions.TABLE[name] in ("anyone", "run")}
