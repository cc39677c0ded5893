"""From what one answer names to the next request, as the links of the OpenAPI document say: as each role, against a real socket."""

import asyncio
import copy
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

import httpx
import pytest
import schemathesis
from hypothesis import Phase, seed
from hypothesis import settings as hypothesis_settings
from hypothesis.internal.conjecture.providers import AVAILABLE_PROVIDERS, HypothesisProvider
from schemathesis.core.failures import FailureGroup

from contracts.api_keys import Role
from control_plane.api.permissions import TABLE, may
from tests.control_plane.caller import ENTITY, VERSION, announced, condition, parquet
from tests.control_plane.installation import Installation
from tests.control_plane.served import served
from tests.control_plane.test_openapi_fuzz import CHECKS
from tests.hostile import SIZE, examples

pytestmark = pytest.mark.security
WALKS = 2
STEPS = 6
ROUNDS = 10
"""Of so many walks each, at most, until every link was followed."""
FILES = {"a.parquet": parquet()}
BEGINNINGS: Mapping[str, dict[str, Any]] = {
    "create_process": {
        "body": {
            "entity_id": ENTITY,
            "data_version": VERSION,
            "action": "filter",
            "parameters": condition(1),
            "output_dataset": "filtered",
        }
    },
    "create_upload": {
        "path_parameters": {"entity_id": ENTITY, "data_version": VERSION, "dataset": "walked"},
        "body": {"files": [announced(name, data) for name, data in FILES.items()]},
    },
}
"""What succeeds, so that a walk gets past its first step. Other bodies are the matter of the test of every operation."""


class Untold(HypothesisProvider):
    """Draws as usual, but Hypothesis keeps no tree of what was drawn.

    The tree supposes that the same draws are followed by the same ones. Here what is drawn next depends on the answers, which have other
    ids and times in each walk: Hypothesis would call the walks flaky and end them.
    """


AVAILABLE_PROVIDERS["untold"] = f"{__name__}.{Untold.__name__}"


@dataclass
class Walker:
    """Who walks: `keys` of a tenant that is new with each walk, so that the same requests are answered the same."""

    url: str
    role: Role
    new_keys: Callable[[], dict[str, str]]
    keys: dict[str, str] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)
    wrong: list[Exception] = field(default_factory=list)

    def begin(self) -> None:
        self.keys = self.new_keys()

    def call(self, case: Any) -> Any:
        """As the role. What it may not do must be refused; then an admin does it, for the walk to go on."""
        operation = case.operation.definition.raw["operationId"]
        for name, value in BEGINNINGS.get(operation, {}).items():
            setattr(case, name, value)
        self.asked[operation] += 1
        answer = self._send(case, self.role)
        if TABLE[operation] in ("operator", "admin") and not may(self.role, operation):
            self.judge(answer, case)
            if answer.status_code != 403:
                self.wrong.append(AssertionError(f"{self.role} was answered {answer.status_code}: {case.as_curl_command()}"))
            answer = self._send(case, "admin")
        if answer.status_code < 300:
            self.done[operation] += 1
        if operation == "create_upload" and answer.status_code == 201:
            _put(answer.json())
        return answer

    def judge(self, answer: Any, case: Any) -> None:
        """Keep what is wrong, and walk on: Hypothesis would walk the same way again, where the answers are others."""
        try:
            case.validate_response(answer, checks=CHECKS)
        except FailureGroup as failures:
            self.wrong += failures.exceptions

    def _send(self, case: Any, role: str) -> Any:
        return case.call(base_url=self.url, headers={"Authorization": f"Bearer {self.keys[role]}"}, timeout=30)


def _put(upload: dict[str, Any]) -> None:
    for target in upload["files"]:
        httpx.put(target["url"], content=FILES[target["name"]], headers=target["headers"])  # 412: an earlier step did


def _walk(document: dict[str, Any], walker: Walker, number: int) -> None:
    schema = schemathesis.openapi.from_dict(document)
    schema.config.phases.stateful.inference.algorithms = []  # the document's own links alone: guessed ones rarely lead to what is there
    machine = schema.as_state_machine()

    class Walk(machine):  # type: ignore[misc, valid-type]
        def setup(self) -> None:
            walker.begin()

        def call(self, case: Any, **options: Any) -> Any:
            return walker.call(case)

        def validate_response(self, response: Any, case: Any, **options: Any) -> None:
            walker.judge(response, case)

    if SIZE == 1:
        seed(number)(Walk)
    Walk.run(settings=hypothesis_settings(examples(WALKS), stateful_step_count=STEPS, backend="untold", phases=[Phase.generate]))


async def test_along_the_links(still: Installation) -> None:
    async with served(still) as api:
        document = _without_credentials((await api.client.get("/openapi.json")).json())
        for role in get_args(Role):
            walker = Walker(str(api.client.base_url), role, _new_keys(still, api.client, role))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                await asyncio.to_thread(_walk_all, document, walker)


def _new_keys(installation: Installation, client: httpx.AsyncClient, role: Role) -> Callable[[], dict[str, str]]:
    """Makes a tenant that has an input, for a thread other than this one; returns its keys by role."""
    loop = asyncio.get_running_loop()

    async def keys() -> dict[str, str]:
        admin = await installation.tenant(client)
        await admin.ingest()
        walker = await installation.tenant(client, admin.tenant, role=role)
        return {"admin": admin.key, role: walker.key}

    return lambda: asyncio.run_coroutine_threadsafe(keys(), loop).result(120)


def _walk_all(document: dict[str, Any], walker: Walker) -> None:
    """Walk until every link has led to where something was done."""
    links = {link["operationId"] for link in _links(document)}
    for number in range(ROUNDS):
        _walk(copy.deepcopy(document), walker, number)
        assert walker.wrong == [], walker.role
        if walker.done.keys() >= links:
            return
    raise AssertionError(f"as {walker.role}, these were never followed: {links - walker.done.keys()}; asked were {walker.asked}")


def _without_credentials(document: dict[str, Any]) -> dict[str, Any]:
    """The walker brings its own."""
    del document["components"]["securitySchemes"]
    for methods in document["paths"].values():
        for operation in methods.values():
            operation.pop("security", None)
    return document


def _links(document: dict[str, Any]) -> list[dict[str, Any]]:
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    return [link for each in operations for answer in each["responses"].values() for link in answer.get("links", {}).values()]
