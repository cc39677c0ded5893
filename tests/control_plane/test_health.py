"""What operators look at."""

import asyncio
from functools import partial

import httpx
import jwt
import pytest
from jwt.algorithms import OKPAlgorithm
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from contracts.states import ProcessState
from contracts.tokens import PublicKeys
from control_plane.api.looks import SECONDS, Look
from control_plane.errors import StorageUnavailable
from tests.control_plane.caller import Caller
from tests.control_plane.installation import Installation
from tests.control_plane.steps import Steps


async def test_live_and_ready(client: httpx.AsyncClient, platform: Installation) -> None:
    assert (await client.get("/healthz")).json() == {"status": "ok", "checks": {}}
    ready = await client.get("/readyz")
    assert (ready.status_code, ready.json()) == (200, {"status": "ok", "checks": {"postgres": "ok", "s3": "ok"}})


async def test_without_the_store_requests_are_served_and_it_is_named(platform: Installation) -> None:
    async with platform.but(s3_endpoint="http://127.0.0.1:9").api() as client:
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.json()["checks"]["postgres"]) == (200, "ok")
        assert "object store" in ready.json()["checks"]["s3"]


async def test_metrics_count_processes_by_state_and_name_no_tenant(steps: Steps, acme: Caller) -> None:
    await steps.queued(1)
    driver = await steps.queued(2)
    await steps.driver(driver).started()
    await acme.process(str(driver.process_id))
    async with steps.installation.api() as another:
        text = (await another.get("/metrics")).text
    assert acme.tenant not in text
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert not [s for family in families.values() for s in family.samples if "tenant" in s.labels]
    counted = {s.labels["state"]: s.value for s in families["stratum_processes"].samples}
    assert counted.keys() == set(ProcessState)
    assert min(counted["queued"], counted["running"]) >= 1
    assert "stratum_outbox_messages" in families
    routes = {s.labels["route"] for s in families["stratum_http_request_seconds"].samples}
    assert "/v1/processes/{process_id}" in routes
    assert not [route for route in routes if str(driver.process_id) in route], "one time series a route, not one a process"


async def test_anyone_can_verify_our_tokens(steps: Steps) -> None:
    command = await steps.queued()
    document = (await steps.client.get("/.well-known/jwks.json")).json()
    claims = PublicKeys.from_jwks(document).verify(command.flow_token, "stratum:start", now=None)
    assert claims.process_id == command.process_id
    (key,) = document["keys"]
    assert "d" not in key, "the public half alone"
    jwt.decode(command.flow_token, OKPAlgorithm.from_jwk(key), algorithms=["EdDSA"], audience="stratum:start")  # type: ignore[arg-type]


async def test_each_answer_has_its_trace_id(bare: Caller) -> None:
    given = "0af7651916cd43dd8448eb211c80319c"
    answer = await bare.get("/v1/processes", headers={"traceparent": f"00-{given}-b7ad6b7169203331-01"})
    assert answer.headers["X-Trace-Id"] == given
    others = {(await bare.get("/v1/processes")).headers["X-Trace-Id"] for _ in range(2)}
    assert len(others) == 2


async def test_a_defect_is_answered_without_its_details_and_with_its_trace_id_and_counted(still: Installation) -> None:
    counted = partial(REGISTRY.get_sample_value, "stratum_http_request_seconds_count")
    labels = {"method": "GET", "route": "/v1/processes", "status": "500"}
    before = counted(labels) or 0
    async with still.api() as client, still.sql() as sql:
        caller = await still.tenant(client)
        await sql.execute("DROP VIEW process_view")
        client._transport.raise_app_exceptions = False  # type: ignore[attr-defined]  # as a server does
        answer = await caller.get("/v1/processes")
    assert (answer.status_code, answer.json()["type"]) == (500, "urn:stratum:problem:internal")
    assert "process_view" not in answer.text
    assert answer.headers["X-Trace-Id"]
    assert counted(labels) == before + 1


async def test_whoever_asks_often_does_not_ask_the_database_as_often() -> None:
    asked = 0
    go = asyncio.Event()

    async def ask() -> int:
        nonlocal asked
        asked += 1
        await go.wait()
        if asked == 2:
            raise StorageUnavailable("away")
        return asked

    look = Look(ask)
    many = [asyncio.create_task(look()) for _ in range(50)]
    await asyncio.sleep(0)
    many[0].cancel()
    go.set()
    assert await asyncio.gather(*many[1:]) == [1] * 49, "all of them wait for the one answer"
    assert await look() == 1
    look._answered_at -= SECONDS + 1
    for _ in range(3):
        with pytest.raises(StorageUnavailable):
            await look()
    assert asked == 2
