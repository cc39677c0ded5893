"""The whole OpenAPI document, asked by a machine: as each role, against a real socket, PostgreSQL and S3."""

import asyncio
import importlib
import pkgutil
import time
import warnings
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import pytest_asyncio
import requests
import schemathesis
import schemathesis.specs.openapi
from hypothesis import given
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from control_plane.api.permissions import TABLE
from tests.control_plane.caller import ENTITY, VERSION, Caller
from tests.control_plane.installation import Installation
from tests.control_plane.served import Served, served
from tests.control_plane.steps import Steps
from tests.hostile import SIZE, examples

pytestmark = pytest.mark.security
# schemathesis imports much of itself only when it is needed; pytest rewrites it then, and Python 3.11 cannot do that in two threads at once
for _module in pkgutil.walk_packages(schemathesis.specs.openapi.__path__, "schemathesis.specs.openapi."):
    importlib.import_module(_module.name)
ROLES = ("none", "viewer", "operator", "admin")
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
SECONDS = 12 * SIZE
"""For each role, shared by all operations: each is asked once whatever it takes, and more often while its share lasts."""
SOMETIMES_AWAY = {"metrics", "readiness"}


@dataclass(frozen=True)
class Target:
    """The API and what must never come back from it."""

    api: Served
    secrets: tuple[str, ...]


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def target(live: Any) -> AsyncIterator[Target]:
    installation: Installation = live.installation
    async with served(installation) as api:
        yield Target(api, (installation.s3_secret_key, "PRIVATE KEY", installation.database_url))


class Turn:
    """An operation's share of the time until `end`, when it is the first of so many: at least one request."""

    def __init__(self, end: float, many: int) -> None:
        now = time.monotonic()
        self._until = now + (end - now) / many
        self.asked = 0

    def is_over(self) -> bool:
        return self.asked > 0 and time.monotonic() > self._until


def _credential(role: str, caller: Caller) -> dict[str, str]:
    return {} if role == "none" else {"Authorization": f"Bearer {caller.key}"}


def _fuzz(target: Target, role: str, headers: dict[str, str], document: dict[str, Any], known: dict[str, str]) -> Counter[str]:
    """Ask every operation in turn, rightly and wrongly; returns how often each was asked, by its `operationId`."""
    schema = schemathesis.openapi.from_dict(document)
    session = requests.Session()
    url = str(target.api.client.base_url)
    end = time.monotonic() + SECONDS
    asked: Counter[str] = Counter()

    def check(case: Any) -> None:
        if turn.is_over():
            return
        for name, value in known.items():  # every other one of something that is there
            if case.path_parameters and name in case.path_parameters and asked.total() % 2:
                case.path_parameters[name] = value
        answer = case.call_and_validate(base_url=url, session=session, headers=headers, checks=CHECKS, timeout=30)
        turn.asked += 1
        asked[case.operation.definition.raw["operationId"]] += 1
        text = answer.text
        assert not any(secret in text for secret in target.secrets), case.as_curl_command()
        assert role != "none" or answer.status_code != 200 or case.operation.definition.raw["x-stratum-access"] == "anyone"

    operations = [result.ok() for result in schema.get_all_operations()]
    turns = [
        (operation, mode)
        for operation in operations
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
        if mode is GenerationMode.POSITIVE or operation.body or operation.query or operation.path_parameters
    ]
    for before, (operation, mode) in enumerate(turns):
        turn = Turn(end, len(turns) - before)
        asking = given(case=operation.as_strategy(generation_mode=mode))(check)
        examples(3)(asking)()
    session.close()
    return asked


@pytest.mark.parametrize("role", ROLES)
async def test_every_operation_as_every_role(role: str, target: Target, steps: Steps, acme: Caller, platform: Installation) -> None:
    driver = await steps.succeeded(1)
    upload = await acme.begin_upload("open")
    caller = await platform.tenant(steps.client, acme.tenant, role="admin" if role == "none" else role)
    document = (await target.api.client.get("/openapi.json")).json()
    known = {
        "process_id": str(driver.command.process_id),
        "entity_id": ENTITY,
        "data_version": VERSION,
        "dataset": "open",
        "upload_id": upload["upload_id"],
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        asked = await asyncio.to_thread(_fuzz, target, role, _credential(role, caller), document, known)
    assert asked.keys() == TABLE.keys(), "each at least once"
    assert (await target.api.client.get("/healthz")).status_code == 200


async def test_an_answer_that_is_not_documented_is_found(target: Target, acme: Caller) -> None:
    """What the test above is worth."""
    document = (await target.api.client.get("/openapi.json")).json()
    operation = document["paths"]["/v1/processes/{process_id}"]["get"]
    del operation["responses"]["404"]
    document["paths"] = {"/v1/processes/{process_id}": {"get": operation}}
    with pytest.raises(FailureGroup, match="Undocumented status code"):
        await asyncio.to_thread(_fuzz, target, "admin", _credential("admin", acme), document, {})


@pytest.mark.parametrize("kind", ["flow", "run"])
async def test_callbacks(kind: str, target: Target, steps: Steps) -> None:
    """With a genuine token: only the granted run is heard, whatever the body is."""
    driver = steps.driver(await steps.submitted(1))
    if kind == "run":
        await driver.started()
    document = (await target.api.client.get("/openapi.json")).json()
    document["paths"] = {path: methods for path, methods in document["paths"].items() if path.endswith("/callback")}
    headers = {"Authorization": f"Bearer {driver.token}"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert (await asyncio.to_thread(_fuzz, target, "run", headers, document, {})).keys() == {"callback"}


async def test_the_document_names_what_the_limits_answer(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert {"400", "408", "413", "414", "431", "503"} <= operation["responses"].keys(), path
