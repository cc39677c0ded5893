"""What is checked before anything is stored, and what the answer says."""

import asyncio
import json
from typing import Any

import asyncpg
import pytest

from tests.control_plane.caller import ENTITY, VERSION, Caller, condition
from tests.control_plane.launcher import Launcher
from tests.control_plane.steps import Steps

FILTER = {"entity_id": ENTITY, "data_version": VERSION, "action": "filter", "parameters": condition(1)}


async def _nothing_stored(sql: asyncpg.Connection, acme: Caller) -> bool:
    return not await sql.fetchval("SELECT count(*) FROM processes WHERE tenant = $1", acme.tenant)


@pytest.mark.parametrize(
    ("changes", "status", "suggestion", "words"),
    [
        ({"entity_id": "cust_8824"}, 404, ENTITY, "There is no entity 'cust_8824'. Did you mean 'cust_8842'?"),
        ({"data_version": "v2024.10.06"}, 404, VERSION, "has no data version 'v2024.10.06'. Did you mean 'v2024.10.05'?"),
        ({"input_dataset": "sauce"}, 404, "source", "There is no sealed dataset 'sauce' in cust_8842/v2024.10.05."),
        ({"action": "fillter"}, 422, "filter", "There is no action 'fillter'. Did you mean 'filter'"),
    ],
)
async def test_unknown_names_are_answered_with_the_nearest(
    changes: dict[str, Any], status: int, suggestion: str, words: str, acme: Caller, sql: asyncpg.Connection
) -> None:
    answer = await acme.post("/v1/processes", {**FILTER, **changes})
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    problem = answer.json()
    assert problem["suggestions"][0] == suggestion
    assert words in problem["detail"]
    assert (problem["status"], problem["instance"]) == (status, "/v1/processes")
    assert await _nothing_stored(sql, acme)


@pytest.mark.parametrize("field", ["entity_id", "data_version", "action", "input_dataset", "output_dataset", "output_data_version"])
async def test_ids_are_held_to_their_pattern(field: str, bare: Caller) -> None:
    for value in ("", "../up", "a..b", "-a", ".a", "a/b", "a b", "ä", "a" * 129, "a\n", 7):
        answer = await bare.post("/v1/processes", {**FILTER, field: value})
        assert answer.status_code == 422, value
        assert [error["pointer"] for error in answer.json()["errors"]] == [f"/{field}"], value


async def test_paths_are_held_to_it_too(bare: Caller) -> None:
    answer = await bare.get(f"/v1/entities/a..b/versions/{VERSION}/datasets/source")
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/path/entity_id")
    assert (await bare.get("/v1/processes/not-a-uuid")).status_code == 422
    assert (await bare.get("/v2/anything")).json()["type"] == "urn:stratum:problem:not-found"
    assert (await bare.request("DELETE", "/v1/processes")).status_code == 405


@pytest.mark.parametrize(
    ("action", "parameters", "pointers"),
    [
        ("filter", {}, ["/parameters"]),
        ("filter", {"condition": 1}, ["/parameters/condition"]),
        ("filter", {"condition": ""}, ["/parameters/condition"]),
        ("filter", {"condition": "a > 1", "extra": 1}, ["/parameters"]),
        ("aggregate_revenue", {"currency": "euro"}, ["/parameters/currency"]),
        ("normalize", {"columns": ["a"], "method": "magic"}, ["/parameters/method"]),
        ("sql", {"query": "SELECT 1", "inputs": {"no/view": "source"}}, ["/parameters/inputs"]),
        (
            "aggregate",
            {"group_by": ["a"], "measures": [{"function": "sum", "column": "b", "name": "s"}, {"function": "magic", "name": "m"}]},
            None,
        ),
    ],
)
async def test_parameters_are_held_to_the_actions_schema(
    action: str, parameters: dict[str, Any], pointers: list[str] | None, bare: Caller, sql: asyncpg.Connection
) -> None:
    answer = await bare.post("/v1/processes", {**FILTER, "action": action, "parameters": parameters})
    assert answer.status_code == 422, answer.text
    found = [error["pointer"] for error in answer.json()["errors"]]
    assert found == pointers if pointers else all(pointer.startswith("/parameters/measures") for pointer in found)
    assert f"The parameters of '{action}' are wrong" in answer.json()["detail"]
    assert await _nothing_stored(sql, bare)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM text.`/etc/hostname`",
        "SELECT java_method('java.lang.System', 'exit', 1)",
        "SELECT * FROM undeclared",
        "SELECT 1; SELECT 2",
        "DROP TABLE source",
        "SELECT current_timestamp()",
    ],
)
async def test_queries_outside_the_lines_are_refused(query: str, bare: Caller, sql: asyncpg.Connection) -> None:
    answer = await bare.post("/v1/processes", {**FILTER, "action": "sql", "parameters": {"query": query}})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/parameters/query"
    assert await _nothing_stored(sql, bare)


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"priority": 101}, "/priority"),
        ({"priority": "high"}, "/priority"),
        ({"labels": {"a": 1}}, "/labels/a"),
        ({"labels": {f"l{number}": "x" for number in range(33)}}, "/labels"),
        ({"callback_url": "ftp://example.test"}, "/callback_url"),
        ({"resource_profile": {"executor_memory": "lots"}}, "/resource_profile/executor_memory"),
        ({"resource_profile": {"executors": 3}}, "/resource_profile/executors"),
        ({"parameter": {}}, "/parameter"),
        ({"parameters": []}, "/parameters"),
    ],
)
async def test_wrong_fields_are_pointed_at(changes: dict[str, Any], pointer: str, bare: Caller) -> None:
    answer = await bare.post("/v1/processes", {**FILTER, **changes})
    assert answer.status_code == 422, answer.text
    assert pointer in [error["pointer"] for error in answer.json()["errors"]]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"{", 400),
        (b"[]", 422),
        (b"null", 422),
        (b'"text"', 422),
        (b"\xff\xfe", 400),
        (json.dumps({**FILTER, "parameters": {"condition": "a\x00b"}}).encode(), 422),
        (json.dumps({**FILTER, "labels": {"a": "\x00"}}).encode(), 422),
        (json.dumps({**FILTER, "parameters": {"condition": "\ud800"}}).encode(), 422),
        (json.dumps({**FILTER, "parameters": {"condition": float("nan")}}).encode(), 422),
        (json.dumps({**FILTER, "action": "sql", "parameters": {"query": "SELECT 1 AS a", "inputs": {"v": "\ud800"}}}).encode(), 422),
        (json.dumps({**FILTER, "parameters": {"condition": 10**400}}).encode(), 422),
        (b'{"parameters": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400),
        (
            b'{"entity_id": "e", "data_version": "v", "action": "filter", "parameters": {"condition": ' + b"[" * 80 + b"]" * 80 + b"}}",
            422,
        ),
    ],
)
async def test_bodies_that_no_client_should_send(body: bytes, status: int, bare: Caller, sql: asyncpg.Connection) -> None:
    answer = await bare.request("POST", "/v1/processes", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text[:500]
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(answer.content) < 20_000
    assert await _nothing_stored(sql, bare)


async def test_a_body_of_no_type_is_told_which_to_name(bare: Caller) -> None:
    answer = await bare.request("POST", "/v1/processes", content=b'{"entity_id": "a"}')
    assert answer.status_code == 422
    assert "Content-Type: application/json" in answer.json()["detail"]


async def test_a_body_over_the_limit_is_refused_declared_or_not(bare: Caller) -> None:
    body = b" " * (4 * 1024 * 1024 + 1)
    declared = await bare.request("POST", "/v1/processes", content=body)
    assert (declared.status_code, declared.json()["type"]) == (413, "urn:stratum:problem:too-large")

    async def pieces() -> Any:
        for _ in range(5):
            yield b" " * 1024 * 1024

    assert (await bare.request("POST", "/v1/processes", content=pieces())).status_code == 413


async def test_a_name_being_made_belongs_to_its_maker(steps: Steps, acme: Caller) -> None:
    command = await steps.queued(1)
    answer = await acme.run(2, output_dataset="filtered-1")
    problem = answer.json()
    assert (answer.status_code, problem["type"]) == (409, "urn:stratum:problem:name-taken")
    assert problem["owner_process_id"] == str(command.process_id)
    assert f"is being made by process {command.process_id}" in problem["detail"]
    upload = await acme.post(
        f"/v1/entities/{ENTITY}/versions/{VERSION}/datasets/filtered-1/uploads",
        {"files": [{"name": "a.parquet", "bytes": 1, "sha256": "0" * 64}]},
    )
    assert (upload.status_code, upload.json()["owner_process_id"]) == (409, str(command.process_id))
    assert (await acme.run(2, output_dataset="filtered-1", output_data_version="v2")).status_code == 202, "another version, another name"


async def test_a_sealed_name_is_taken_for_ever(steps: Steps, acme: Caller) -> None:
    driver = await steps.succeeded(1)
    made = await acme.run(2, output_dataset="filtered-1")
    assert (made.status_code, made.json()["owner_process_id"]) == (409, str(driver.command.process_id))
    assert "is sealed already" in made.json()["detail"]
    uploaded = await acme.run(2, output_dataset="source")
    assert (uploaded.status_code, uploaded.json().get("owner_process_id")) == (409, None)
    assert "made by upload" in uploaded.json()["detail"]


async def test_a_process_that_may_refuse_rows_claims_a_name_for_them(acme: Caller) -> None:
    body = {**FILTER, "action": "aggregate_revenue", "parameters": {"on_invalid": "reject"}, "output_dataset": "revenue"}
    owner = (await acme.post("/v1/processes", body)).json()
    taken = await acme.run(2, output_dataset="revenue_rejected")
    assert (taken.status_code, taken.json()["owner_process_id"]) == (409, owner["id"])
    assert "revenue_rejected" in taken.json()["detail"]
    reverse = await acme.run(3, output_dataset="sales_rejected")
    assert reverse.status_code == 202
    refused = await acme.post("/v1/processes", {**body, "output_dataset": "sales"})
    assert (refused.status_code, refused.json()["owner_process_id"]) == (409, reverse.json()["id"])
    assert (await acme.run(4, output_dataset="sales")).status_code == 202, "a refused request claims nothing"
    too_long = await acme.post("/v1/processes", {**body, "output_dataset": "a" * 120})
    assert (too_long.status_code, too_long.json()["errors"][0]["pointer"]) == (422, "/output_dataset")


async def test_identical_work_of_twenty_callers_is_one_process(acme: Caller, launcher: Launcher) -> None:
    answers = await asyncio.gather(*(acme.run(1) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [200] * 19 + [202]
    (process_id,) = {answer.json()["id"] for answer in answers}
    await launcher.command(process_id)
    assert await acme.history(process_id) == ["accepted", "queued"]
    assert len((await acme.ok("GET", "/v1/processes"))["items"]) == 1


async def test_of_twenty_different_works_for_one_name_one_is_accepted(acme: Caller, sql: asyncpg.Connection) -> None:
    answers = await asyncio.gather(*(acme.run(number, output_dataset="contested") for number in range(20)))
    assert sorted(answer.status_code for answer in answers) == [202] + [409] * 19
    winner = next(answer.json()["id"] for answer in answers if answer.status_code == 202)
    assert {answer.json()["owner_process_id"] for answer in answers if answer.status_code == 409} == {winner}
    assert await sql.fetchval("SELECT count(*) FROM processes WHERE tenant = $1", acme.tenant) == 1
    assert await sql.fetchval("SELECT count(*) FROM outbox WHERE tenant = $1", acme.tenant) == 1


async def test_a_query_reads_the_datasets_that_it_declares(acme: Caller, launcher: Launcher) -> None:
    await acme.ingest("carriers")
    query = {
        "query": "SELECT f.carrier FROM flights f JOIN carriers c ON f.carrier = c.carrier",
        "inputs": {"flights": "source", "carriers": "carriers"},
    }
    accepted = await acme.post("/v1/processes", {**FILTER, "action": "sql", "parameters": query})
    assert accepted.status_code == 202, accepted.text
    command = await launcher.command(accepted.json()["id"])
    assert {(i.view, i.dataset) for i in command.inputs} == {("flights", "source"), ("carriers", "carriers")}
    query["inputs"] = {"flights": "source", "carriers": "carriages"}
    missing = await acme.post("/v1/processes", {**FILTER, "action": "sql", "parameters": query, "output_dataset": "other"})
    assert (missing.status_code, missing.json()["suggestions"][0]) == (404, "carriers")


async def test_the_openapi_document_is_whole(bare: Caller) -> None:
    document = await bare.ok("GET", "/openapi.json")
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation["operationId"], (method, path)
            for status, response in operation["responses"].items():
                if path.startswith("/v1/") and path != "/v1/time" and int(status) >= 400:
                    assert "application/problem+json" in response["content"], (method, path, status)
    assert "Problem" in document["components"]["schemas"]
