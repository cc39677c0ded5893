"""What operators look at."""

import httpx
import jwt
from jwt.algorithms import OKPAlgorithm
from prometheus_client.parser import text_string_to_metric_families

from contracts.tokens import PublicKeys
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


async def test_metrics_count_processes_by_tenant_and_state(steps: Steps, acme: Caller) -> None:
    await steps.queued(1)
    driver = await steps.queued(2)
    await steps.driver(driver).started()
    await acme.process(str(driver.process_id))
    families = {family.name: family for family in text_string_to_metric_families((await steps.client.get("/metrics")).text)}
    mine = {s.labels["state"]: s.value for s in families["stratum_processes"].samples if s.labels["tenant"] == acme.tenant}
    assert {state: value for state, value in mine.items() if value} == {"queued": 1, "running": 1}
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


async def test_a_defect_is_answered_without_its_details_and_with_its_trace_id(still: Installation) -> None:
    async with still.api() as client, still.sql() as sql:
        caller = await still.tenant(client)
        await sql.execute("DROP VIEW process_view")
        client._transport.raise_app_exceptions = False  # type: ignore[attr-defined]  # as a server does
        answer = await caller.get("/v1/processes")
    assert (answer.status_code, answer.json()["type"]) == (500, "urn:stratum:problem:internal")
    assert "process_view" not in answer.text
    assert answer.headers["X-Trace-Id"]
