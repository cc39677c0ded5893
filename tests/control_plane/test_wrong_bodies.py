"""Bodies that are wrong in a hundred thousand places: few of them are told, and to find them costs no more than to read the body."""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.exceptions import RequestValidationError
from pydantic import TypeAdapter, ValidationError

from contracts.api_keys import KeyRequest
from contracts.callback import Callback
from contracts.command import AttemptRef
from contracts.http import ProcessRequest, UploadRequest
from contracts.identifiers import new_id
from contracts.webhook import SecretRotation
from control_plane.api import problems
from control_plane.errors import Invalid
from tests.control_plane.caller import ENTITY, VERSION, Caller
from tests.control_plane.installation import Installation

pytestmark = pytest.mark.security

MANY = 20_000
UPLOADS = f"/v1/entities/{ENTITY}/versions/{VERSION}/datasets/other/uploads"
UNKNOWN = {f"k{number}": 1 for number in range(MANY)}
FILE = {"name": "a.parquet", "bytes": 1, "sha256": "0" * 64}
PROCESS = {"entity_id": ENTITY, "data_version": VERSION, "action": "aggregate"}
LARGEST_ANSWER = 16 * 1024
SENT: dict[str, tuple[str, dict[str, Any], str]] = {
    "files": (UPLOADS, {"files": [{"name": 1}] * MANY}, "/files"),
    "a wrong file among many": (UPLOADS, {"files": [FILE, {"name": 1}] * 4000}, "/files/1/name"),
    "too many files": (UPLOADS, {"files": [FILE] * MANY}, "/files"),
    "fields of a file": (UPLOADS, {"files": [{**FILE, **UNKNOWN}]}, "/files/0"),
    "fields": ("/v1/processes", {**PROCESS, **UNKNOWN}, ""),
    "labels": ("/v1/processes", {**PROCESS, "labels": {f"k {number}": 1 for number in range(MANY)}}, "/labels"),
    "fields of a profile": ("/v1/processes", {**PROCESS, "resource_profile": UNKNOWN}, "/resource_profile"),
    "parameters": ("/v1/processes", {**PROCESS, "parameters": {"group_by": [1] * MANY, "measures": []}}, "/parameters"),
    "fields of parameters": ("/v1/processes", {**PROCESS, "parameters": {"group_by": ["a"], "measures": [], **UNKNOWN}}, "/parameters"),
    "a long name": ("/v1/processes", {**PROCESS, "k" * 200_000: 1}, "/kkk"),
    "a key's fields": ("/v1/keys", UNKNOWN, ""),
    "a rotation's fields": ("/v1/webhooks/secret/rotate", UNKNOWN, ""),
}


def _is_short(answer: Any, pointer: str) -> None:
    assert answer.status_code == 422, answer.text[:300]
    assert len(answer.content) <= LARGEST_ANSWER
    problem = answer.json()
    assert 1 <= len(problem["errors"]) <= problems.MOST_ERRORS
    assert all(error["detail"] for error in problem["errors"])
    assert any(error["pointer"].startswith(pointer) for error in problem["errors"]), problem["errors"]


@pytest.mark.parametrize("sent", SENT)
async def test_the_answer_is_short_and_points_to_what_is_wrong(sent: str, acme: Caller) -> None:
    path, body, pointer = SENT[sent]
    _is_short(await acme.post(path, body), pointer)


async def test_the_answer_to_a_run_is_short(bare: Caller, platform: Installation) -> None:
    ref = AttemptRef(tenant=bare.tenant, process_id=new_id(), step=0, attempt=1)
    token = platform.keys.sign("stratum:run", ref, datetime.now(UTC) + timedelta(hours=1), "run")
    for more in (UNKNOWN, {"progress": UNKNOWN}, {"type": "failed", "error": UNKNOWN}):
        body = {"type": "heartbeat", "sequence": 1, "run_id": "run", **more}
        _is_short(await bare.post("/v1/processes/callback", body, headers={"Authorization": f"Bearer {token}"}), "")


def test_what_is_left_out_is_counted() -> None:
    errors = [{"pointer": f"/{number}", "detail": "wrong"} for number in range(50)]
    problem = json.loads(bytes(problems.response(Invalid("Wrong.", errors=errors), None).body))
    assert (problem["errors"], problem["errors_left_out"]) == (errors[: problems.MOST_ERRORS], 50 - problems.MOST_ERRORS)
    assert "errors_left_out" not in json.loads(bytes(problems.response(Invalid("Wrong.", errors=errors[:1]), None).body))


async def test_few_wrong_fields_are_each_told(acme: Caller) -> None:
    body = {**PROCESS, "entity_id": 1, "action": "-", "labels": {"a b": "c"}, "colour": "red", "size": 1}
    problem = (await acme.post("/v1/processes", body)).json()
    assert {error["pointer"] for error in problem["errors"]} == {"/entity_id", "/action", "/labels/a b", "/colour", "/size"}


def _filled(member: str, largest: int = 4 * 1024 * 1024) -> int:
    return largest // (len(member) + 1)


HOSTILE: dict[str, tuple[Any, str]] = {
    "files": (UploadRequest, '{"files":[' + ",".join(["{}"] * _filled("{}")) + "]}"),
    "numbers for files": (UploadRequest, '{"files":[' + ",".join("1" * _filled("1")) + "]}"),
    "fields of a file": (UploadRequest, '{"files":[{' + ",".join(f'"{n:06}":1' for n in range(_filled('"123456":1'))) + "}]}"),
    "fields": (ProcessRequest, "{" + ",".join(f'"{n:06}":1' for n in range(_filled('"123456":1'))) + "}"),
    "labels": (ProcessRequest, '{"labels":{' + ",".join(f'"{n:06}":1' for n in range(_filled('"123456":1'))) + "}}"),
    "fields of a report": (Callback, "{" + ",".join(f'"{n:06}":1' for n in range(_filled('"123456":1'))) + "}"),
    "fields of a key": (KeyRequest, "{" + ",".join(f'"{n:06}":1' for n in range(_filled('"123456":1'))) + "}"),
    "fields of a rotation": (SecretRotation, "{" + ",".join(f'"{n:06}":1' for n in range(_filled('"123456":1'))) + "}"),
}


@pytest.mark.parametrize("body", HOSTILE)
def test_to_find_what_is_wrong_costs_no_more_than_to_read_the_body(body: str) -> None:
    model, text = HOSTILE[body]
    read, document = _cost(lambda: json.loads(text))
    found, answer = _cost(lambda: _answer(TypeAdapter(model), document))
    assert len(answer) <= LARGEST_ANSWER
    assert found < 2 * read + 0.05, f"{found:.2f} s, and {read:.2f} s to read it"


def _answer(model: TypeAdapter[Any], document: Any) -> bytes:
    """As FastAPI makes it."""
    with pytest.raises(ValidationError) as caught:
        model.validate_python(document)
    errors = [{**error, "loc": ("body", *error["loc"])} for error in caught.value.errors(include_url=False)]
    return bytes(problems.response(problems.invalid(RequestValidationError(errors, body=document)), None).body)


def _cost(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of this process alone, the best of a few, and what came of it."""
    best = float("inf")
    for _ in range(3):
        begin = time.process_time()
        result = work()
        best = min(best, time.process_time() - begin)
    return best, result
