"""The whole OpenAPI document, asked by a machine: as each role, against a real socket, PostgreSQL and S3."""

import asyncio
import importlib
import pkgutil
import time
import warnings
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import pytest_asyncio
import requests
import schemathesis
import schemathesis.specs.openapi
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis.errors import FlakyStrategyDefinition
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

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
"""For each role: what is not asked by then is asked in a longer run."""
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


def _credential(role: str, caller: Caller) -> dict[str, str]:
    return {} if role == "none" else {"Authorization": f"Bearer {caller.key}"}


def _fuzz(target: Target, role: str, headers: dict[str, str], document: dict[str, Any], known: dict[str, str]) -> int:
    """Ask every operation in turn; returns how many requests were sent."""
    schema = schemathesis.openapi.from_dict(document)
    session = requests.Session()
    url = str(target.api.client.base_url)
    until = time.monotonic() + SECONDS
    sent = 0

    def check(case: Any) -> None:
        nonlocal sent
        if time.monotonic() > until:
            return
        for name, value in known.items():  # every other one of something that is there
            if case.path_parameters and name in case.path_parameters and sent % 2:
                case.path_parameters[name] = value
        answer = case.call_and_validate(base_url=url, session=session, headers=headers, checks=CHECKS, timeout=30)
        sent += 1
        text = answer.text
        assert not any(secret in text for secret in target.secrets), case.as_curl_command()
        assert role != "none" or answer.status_code != 200 or case.operation.definition.raw["x-stratum-access"] == "anyone"

    for result in schema.get_all_operations():
        operation = result.ok()
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            if mode is GenerationMode.NEGATIVE and not (operation.body or operation.query or operation.path_parameters):
                continue
            asked = given(case=operation.as_strategy(generation_mode=mode))(check)
            examples(3)(asked)()
    session.close()
    return sent


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
        sent = await asyncio.to_thread(_fuzz, target, role, _credential(role, caller), document, known)
    assert sent > 30
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
        assert await asyncio.to_thread(_fuzz, target, "run", headers, document, {}) > 3


async def test_along_the_links(target: Target, acme: Caller) -> None:
    """From what one answer names to the next request, as OpenAPI links say."""
    document = (await target.api.client.get("/openapi.json")).json()
    url, headers = str(target.api.client.base_url), {"Authorization": f"Bearer {acme.key}"}
    wrong: list[FailureGroup] = []
    sent = 0

    def walk() -> None:
        machine = schemathesis.openapi.from_dict(document).as_state_machine()

        class Walk(machine):  # type: ignore[misc, valid-type]
            def call(self, case: Any, **options: Any) -> Any:
                nonlocal sent
                sent += 1
                return case.call(base_url=url, headers=headers, timeout=30)

            def validate_response(self, response: Any, case: Any, **options: Any) -> None:
                try:
                    case.validate_response(response, checks=CHECKS)
                except FailureGroup as failures:
                    wrong.append(failures)
                    raise

        for _ in range(SIZE):
            # where the same requests are answered otherwise, since the API is no longer what it was, Hypothesis ends the walk
            with suppress(FlakyStrategyDefinition):
                Walk.run(settings=hypothesis_settings(examples(3), max_examples=3, stateful_step_count=5))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        await asyncio.to_thread(walk)
    assert wrong == []
    assert sent > 3 * SIZE


async def test_the_document_names_what_the_limits_answer(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert {"400", "408", "413", "414", "431", "503"} <= operation["responses"].keys(), path
