"""`/v1/webhooks`: who may see and do what, and secrets that are replaced."""

from uuid import uuid4

import pytest
from standardwebhooks.webhooks import Webhook

from tests.control_plane.caller import Caller
from tests.control_plane.hooked import hooked
from tests.control_plane.installation import Installation, running
from tests.control_plane.receiver import receiving

HOOK = "http://127.0.0.1:9/hook"
ROTATE = "/v1/webhooks/secret/rotate"


async def test_while_a_secret_is_replaced_both_sign(still: Installation) -> None:
    async with hooked(still) as scene, receiving() as receiver:
        (first,) = await scene.secrets()
        assert await scene.secrets() == [first], "it is made once"
        answer = await scene.caller.post(ROTATE, {"keep_seconds": 600})
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
        second, old = (each["secret"] for each in answer.json()["items"])
        assert (old == first, second != first) == (True, True)
        assert [each["retires_at"] is None for each in answer.json()["items"]] == [True, False]
        await scene.ended(receiver.url())
        with running(scene.installation.webhooks()):
            (received,) = await receiver.until(1)
        for secret in (first, second):
            Webhook(secret).verify(received.body, received.headers)


async def test_no_more_than_two_are_ever_good(still: Installation) -> None:
    async with hooked(still) as scene:
        (first,) = await scene.secrets()
        await scene.caller.ok("POST", ROTATE)
        second = (await scene.secrets())[0]
        await scene.caller.ok("POST", ROTATE)
        third, kept = await scene.secrets()
        assert (kept == second, first in (third, kept)) == (True, False)
        await scene.caller.ok("POST", ROTATE, {"keep_seconds": 0})
        assert len(await scene.secrets()) == 1
        async with scene.installation.sql() as sql:
            assert await sql.fetchval("SELECT count(*) FROM webhook_secrets WHERE secret = ANY($1)", [first, second]) == 0
        assert (await scene.caller.post(ROTATE, {"keep_seconds": -1})).status_code == 422


async def test_secrets_are_for_admins(still: Installation) -> None:
    async with hooked(still) as scene:
        for role in ("viewer", "operator"):
            other = await scene.installation.tenant(scene.caller.client, scene.caller.tenant, role)
            assert (await other.get("/v1/webhooks/secret")).status_code == 403
            assert (await other.post(ROTATE)).status_code == 403
        stranger = await scene.installation.tenant(scene.caller.client)
        theirs = (await stranger.ok("GET", "/v1/webhooks/secret"))["items"]
        assert theirs[0]["secret"] not in await scene.secrets()


async def test_deliveries_are_their_tenants_own(still: Installation) -> None:
    async with hooked(still) as scene:
        delivery = await scene.delivery(await scene.ended(HOOK))
        path = f"/v1/webhooks/{delivery['id']}"
        assert await scene.caller.ok("GET", path) == delivery
        stranger = await scene.installation.tenant(scene.caller.client)
        assert (await stranger.ok("GET", "/v1/webhooks"))["items"] == []
        assert [(await stranger.get(path)).status_code, (await stranger.post(f"{path}/replay")).status_code] == [404, 404]
        viewer = await scene.installation.tenant(scene.caller.client, scene.caller.tenant, "viewer")
        assert [(await viewer.get(path)).status_code, (await viewer.post(f"{path}/replay")).status_code] == [200, 403]
        assert (await scene.caller.get(f"/v1/webhooks/{uuid4()}")).status_code == 404


async def test_deliveries_page_by_page_and_by_state(still: Installation) -> None:
    async with hooked(still) as scene:
        ended = [await scene.ended(HOOK, number) for number in range(5)]
        seen, cursor = [], ""
        while cursor is not None:
            page = await scene.caller.ok("GET", f"/v1/webhooks?limit=2&state=waiting{cursor and f'&cursor={cursor}'}")
            seen += [each["process_id"] for each in page["items"]]
            cursor = page["next_cursor"]
        assert seen == ended[::-1]
        assert (await scene.caller.ok("GET", "/v1/webhooks?state=delivered"))["items"] == []
        assert (await scene.caller.get("/v1/webhooks?cursor=nonsense")).status_code == 422
        assert (await scene.caller.get("/v1/webhooks?state=lost")).status_code == 422


async def test_how_much_waits_is_measured(still: Installation) -> None:
    async with hooked(still) as scene:
        await scene.ended(HOOK)
        assert "stratum_webhooks_waiting 1.0" in (await scene.caller.client.get("/metrics")).text


@pytest.mark.parametrize(
    "host", ["xn--ls8h.la", "xn--", "a.xn--zzzzzzzzzzzz.example", "xn--a", "[::1", "a" * 64 + ".example", "\u200d", "-"]
)
async def test_a_host_that_is_none_is_the_callers_mistake(host: str, acme: Caller) -> None:
    answer = await acme.run(callback_url=f"https://{host}/")
    assert answer.status_code in (202, 422), answer.text
    if host.startswith("xn--"):
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/callback_url")
