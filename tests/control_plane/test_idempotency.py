"""`Idempotency-Key`: the same POST again gets the same answer."""

import asyncio

import asyncpg

from control_plane.database import Database, queries
from tests.control_plane.caller import ENTITY, VERSION, Caller, condition
from tests.control_plane.installation import Installation
from tests.control_plane.steps import Steps

BODY = {"entity_id": ENTITY, "data_version": VERSION, "action": "filter", "parameters": condition(1)}
KEY = {"Idempotency-Key": "order-4711"}


async def test_the_same_key_and_body_get_the_same_answer(steps: Steps, acme: Caller) -> None:
    first = await acme.post("/v1/processes", BODY, headers=KEY)
    assert first.status_code == 202
    await steps.launcher.command(first.json()["id"])
    again = await acme.post("/v1/processes", BODY, headers=KEY)
    assert (again.status_code, again.content, again.headers["Location"]) == (202, first.content, first.headers["Location"])
    assert len((await acme.ok("GET", "/v1/processes"))["items"]) == 1


async def test_the_answer_outlives_the_process(steps: Steps, acme: Caller) -> None:
    first = await acme.post("/v1/processes", BODY, headers=KEY)
    driver = await steps.driver(await steps.launcher.command(first.json()["id"])).started()
    await driver.failed(retryable=False)
    assert (await acme.post("/v1/processes", BODY, headers=KEY)).content == first.content
    without = await acme.post("/v1/processes", BODY)
    assert (without.status_code, without.json()["id"] != first.json()["id"]) == (202, True)


async def test_another_body_under_the_same_key_is_refused(acme: Caller) -> None:
    assert (await acme.post("/v1/processes", BODY, headers=KEY)).status_code == 202
    other = await acme.post("/v1/processes", {**BODY, "priority": 1}, headers=KEY)
    assert (other.status_code, other.json()["errors"][0]["pointer"]) == (422, "/header/idempotency-key")


async def test_a_refused_request_does_not_use_up_its_key(acme: Caller) -> None:
    assert (await acme.post("/v1/processes", {**BODY, "action": "fillter"}, headers=KEY)).status_code == 422
    assert (await acme.post("/v1/processes", BODY, headers=KEY)).status_code == 202


async def test_keys_belong_to_their_tenant(steps: Steps, acme: Caller) -> None:
    other = await steps.installation.tenant(steps.client)
    await other.ingest()
    answers = [await caller.post("/v1/processes", BODY, headers=KEY) for caller in (acme, other)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert len({answer.json()["id"] for answer in answers}) == 2


async def test_a_key_that_is_being_worked_on(acme: Caller, sql: asyncpg.Connection) -> None:
    async with sql.transaction():
        assert await queries.lock_idempotency_key(sql, tenant=acme.tenant, key=KEY["Idempotency-Key"])
        busy = await acme.post("/v1/processes", BODY, headers=KEY)
        assert (busy.status_code, busy.json()["type"], busy.headers["Retry-After"]) == (409, "urn:stratum:problem:conflict", "1")
    assert (await acme.post("/v1/processes", BODY, headers=KEY)).status_code == 202


async def test_racing_posts_with_one_key_make_one_process(acme: Caller) -> None:
    answers = await asyncio.gather(*(acme.post("/v1/processes", BODY, headers=KEY) for _ in range(10)))
    assert {answer.status_code for answer in answers} <= {202, 409}
    assert len({answer.json()["id"] for answer in answers if answer.status_code == 202}) == 1
    assert len((await acme.ok("GET", "/v1/processes"))["items"]) == 1


async def test_a_key_must_have_a_length(acme: Caller) -> None:
    for key in ("", "k" * 201):
        answer = await acme.post("/v1/processes", BODY, headers={"Idempotency-Key": key})
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/header/idempotency-key")


async def test_no_key_is_taken_for_another_kind_of_lock(still: Installation) -> None:
    """A tenant chooses its keys, and the operator its name: together they must not be the name of what others wait for."""
    database = Database(still.api_settings)
    try:
        async with database.transaction() as one, database.transaction() as other:
            await queries.hold_acceptance(one, tenant="acme")
            await queries.lock_keys(one, tenant="acme")
            await queries.lock_dataset(one, tenant="a", entity_id="e", data_version="v", dataset="d")
            assert await queries.lock_idempotency_key(one, tenant="a/b", key="c")
            named = [("held", "acme"), ("keys", "acme"), ("a", "b/c"), ("", '["a", "e", "v", "d"]'), ('["keys", "acme"]', "")]
            assert [await queries.lock_idempotency_key(other, tenant=tenant, key=key) for tenant, key in named] == [True] * len(named)
            assert not await queries.lock_idempotency_key(other, tenant="a/b", key="c"), "the same one is"
    finally:
        await database.close()
