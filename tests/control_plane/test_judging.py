"""A request is judged before it takes a connection: what takes long to judge keeps nobody else waiting."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from control_plane import judging
from control_plane.api.app import create_app
from control_plane.errors import Invalid
from control_plane.judging import MOST_VIOLATIONS, ROOM
from tests.control_plane.caller import ENTITY, VERSION, Caller, condition
from tests.control_plane.installation import Installation
from tests.control_plane.waiting import eventually

BODY = {"entity_id": ENTITY, "data_version": VERSION, "action": "filter", "parameters": condition(1)}
KEY = {"Idempotency-Key": "order-4711"}


class Judge:
    """Stands for a check of parameters that ends when the test says so."""

    def __init__(self) -> None:
        self.begun, self.may_end = threading.Event(), threading.Event()
        self.at_work = self.most_at_work = 0
        self.judged: list[str] = []

    def __call__(self, _: Any, parameters: dict[str, Any]) -> None:
        self.begun.set()
        self.judged.append(parameters["condition"][:20].strip())
        self.at_work += 1
        self.most_at_work = max(self.most_at_work, self.at_work)
        assert self.may_end.wait(60)
        self.at_work -= 1


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> Iterator[Judge]:
    judge = Judge()
    yield judge
    judge.may_end.set()


@pytest.mark.parametrize("again", [False, True])
async def test_no_connection_is_held_meanwhile(again: bool, judge: Judge, still: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    async with still.but(database_pool_size=1).api() as client:
        acme = await still.tenant(client)
        await acme.ingest()
        if again:
            path = f"/v1/processes/{(await acme.ok('POST', '/v1/processes', BODY))['id']}"
            assert (await acme.ok("POST", f"{path}/cancel"))["state"] == "cancelled"
        monkeypatch.setattr(judging, "check_parameters", judge)
        request = acme.post(f"{path}/retry") if again else acme.post("/v1/processes", BODY, headers=KEY)
        answer = asyncio.create_task(request)
        assert await asyncio.to_thread(judge.begun.wait, 60)
        assert (await acme.get("/v1/processes")).status_code == 200
        judge.may_end.set()
        assert (await answer).status_code == 202


async def test_an_answer_stays_though_its_request_would_be_refused_now(acme: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    first = await acme.post("/v1/processes", BODY, headers=KEY)

    def refuse(*_: Any) -> None:
        raise Invalid("The catalog has changed.")

    monkeypatch.setattr(judging, "check_parameters", refuse)
    assert (await acme.post("/v1/processes", BODY, headers=KEY)).content == first.content
    other = await acme.post("/v1/processes", {**BODY, "parameters": {}}, headers=KEY)
    assert (other.status_code, other.json()["errors"][0]["pointer"]) == (422, "/header/idempotency-key")


@pytest.mark.parametrize(("wrong", "left_out"), [(30, 10), (1000, MOST_VIOLATIONS - 20)])
async def test_the_first_errors_are_told_and_the_rest_counted(wrong: int, left_out: int, bare: Caller) -> None:
    answer = await bare.post("/v1/processes", {**BODY, "action": "aggregate", "parameters": {"measures": [{}] * wrong}})
    problem = answer.json()
    assert [error["pointer"] for error in problem["errors"]] == [f"/parameters/measures/{n}" for n in range(20)]
    assert "(at /parameters/measures/0)" in problem["detail"]
    assert problem["errors_left_out"] == left_out


async def test_a_long_error_is_shortened(bare: Caller) -> None:
    answer = await bare.post("/v1/processes", {**BODY, "action": "deduplicate", "parameters": {"keys": [{"a": n} for n in range(10_000)]}})
    (error,) = answer.json()["errors"]
    assert (answer.status_code, error["pointer"]) == (422, "/parameters/keys")
    assert len(error["detail"]) < 1100
    assert error["detail"].endswith("is not valid under any of the given schemas")


async def test_one_is_judged_at_a_time_and_a_tenant_waits_for_its_own_only(
    judge: Judge, still: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "check_parameters", judge)
    app = create_app(still.api_settings)
    turns = app.state.services.judge._turns
    long = " " * (ROOM.of_one // 5)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
        acme, bolt = await still.tenant(client), await still.tenant(client)

        def ask(caller: Caller, number: int) -> asyncio.Task[httpx.Response]:
            body = {**BODY, "parameters": {"condition": f"delay > {number}{long}"}, "output_dataset": f"of-{number}"}
            return asyncio.create_task(caller.post("/v1/processes", body))

        async def there(caller: Caller, number: int) -> None:
            async def look() -> bool:
                return bool(turns._there[caller.tenant] > len(long) * number)

            await eventually(look, 60, "the next one's wait")

        tasks = []
        for number in (1, 2, 3, 4):
            tasks.append(ask(acme, number))
            await there(acme, number)
        for number in (5, 6):
            answer = await ask(acme, number)
            assert (answer.status_code, answer.json()["type"], answer.headers["retry-after"]) == (503, "urn:stratum:problem:busy", "1")
        assert (await acme.get("/v1/processes")).status_code == 200, "nothing else of the tenant waits"
        tasks.append(ask(bolt, 7))
        await there(bolt, 1)
        judge.may_end.set()
        assert [answer.status_code for answer in await asyncio.gather(*tasks)] == [404] * 5, "none of them has data"
    assert judge.most_at_work == 1
    assert judge.judged == [f"delay > {number}" for number in (1, 7, 2, 3, 4)], "another's first goes before its second"
