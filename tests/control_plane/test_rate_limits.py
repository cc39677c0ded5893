"""How many requests may come: by tenant, and by address for those without a valid credential."""

from typing import Any

import httpx
import pytest

from control_plane.api.app import create_app
from control_plane.api.rate_limits import ADDRESS_CELLS, GOOD_CREDENTIALS, GoodCredentials, JudgedPaths, RateLimit, RateLimits, network
from tests.control_plane.caller import Caller
from tests.control_plane.installation import Installation
from tests.control_plane.steps import Steps


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(("rate", "burst"), [(0.2, 1), (1, 1), (3, 5), (100, 1000), (7, 20)])
def test_a_rate_with_its_burst(rate: float, burst: int) -> None:
    clock = Clock()
    limit = RateLimit(rate, burst, None, clock)
    assert [limit.take("a") for _ in range(burst)] == [0] * burst
    for _ in range(20):
        wait = limit.take("a")
        assert wait >= 1
        assert limit.take("a") == wait, "a refused one costs nothing"
        clock.now += max(wait - 1, 0)
        assert wait == 1 or limit.take("a"), "not a second earlier"
        clock.now += min(wait, 1)
        assert limit.take("a") == 0, "as it was said"
        while not limit.take("a"):
            pass
    clock.now += burst / rate
    taken = [limit.take("a") for _ in range(burst + 1)]
    assert (taken[:burst], taken[burst] > 0) == ([0] * burst, True), "what is not used is not saved beyond the burst"


def test_over_a_long_time_no_more_than_the_rate() -> None:
    clock = Clock()
    limit = RateLimit(2.5, 10, 16, clock)
    granted = 0
    for _ in range(10_000):
        granted += limit.take("a") == 0
        clock.now += 0.01
    assert granted == pytest.approx(10 + 100 * 2.5, abs=1)


def test_made_up_keys_take_no_memory() -> None:
    limit = RateLimits.of(0, 1, 1).address
    assert limit is not None
    for number in range(100_000):
        limit.take(f"10.{number}")
    assert ADDRESS_CELLS * 0.9 < len(limit) <= ADDRESS_CELLS
    apart = RateLimit(1, 1, None)
    assert {apart.take(f"t-{number}") for number in range(100_000)} == {0}, "tenants never share a rate"


@pytest.mark.parametrize(
    ("address", "client"),
    [("192.0.2.7", "192.0.2.7"), ("::ffff:192.0.2.7", "192.0.2.7"), ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"), ("unix", "unix"), ("", "")],
)
def test_what_counts_as_one_client(address: str, client: str) -> None:
    assert network(address) == client


class Limited:
    """An API with limits on a clock of the test's own."""

    def __init__(self, installation: Installation, tenant: tuple[float, int] | None, anonymous: tuple[float, int] | None) -> None:
        self.clock = Clock()
        self.app = create_app(installation.api_settings)
        rates = [RateLimit(*rate, None, self.clock) if rate else None for rate in (tenant, anonymous)]
        self.app.state.rate_limits = RateLimits(*rates)

    def client(self, address: str = "192.0.2.7") -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.app, client=(address, 1))
        return httpx.AsyncClient(transport=transport, base_url="http://stratum.test")


async def test_a_tenant_over_its_rate_is_told_when(platform: Installation, acme: Caller, bare: Caller) -> None:
    limited = Limited(platform, (0.1, 3), None)
    async with limited.client() as client:

        async def ask(caller: Caller) -> httpx.Response:
            return await client.get("/v1/processes", headers={"Authorization": f"Bearer {caller.key}"})

        assert [(await ask(acme)).status_code for _ in range(4)] == [200, 200, 200, 429]
        refused = await ask(acme)
        assert (refused.json()["type"], refused.headers["retry-after"]) == ("urn:stratum:problem:rate-limited", "10")
        assert (await ask(bare)).status_code == 200, "another tenant is not concerned"
        limited.clock.now += 9
        assert (await ask(acme)).headers["retry-after"] == "1"
        limited.clock.now += 1
        assert (await ask(acme)).status_code == 200
        document = (await client.get("/openapi.json")).json()
        for path, methods in document["paths"].items():
            if path.startswith("/v1/") and path not in ("/v1/time", "/v1/processes/callback"):
                assert all("429" in operation["responses"] for operation in methods.values()), path
    await limited.app.state.services.database.close()


async def test_those_without_a_valid_credential_share_the_rate_of_their_address(platform: Installation, acme: Caller) -> None:
    limited = Limited(platform, None, (0.1, 2))
    async with limited.client() as here, limited.client("192.0.2.8") as elsewhere:
        wrong = {"Authorization": "Bearer wrong"}
        right = {"Authorization": f"Bearer {acme.key}"}
        assert (await here.get("/v1/processes", headers=right)).status_code == 200
        answers = [await here.get("/v1/time"), await here.get("/v1/processes", headers=wrong), await here.get("/v1/time")]
        assert [answer.status_code for answer in answers] == [200, 401, 429]
        again = await here.get("/v1/processes", headers=wrong)
        assert (again.status_code, again.headers["retry-after"], again.json()["status"]) == (429, "10", 429)
        assert (await here.get("/openapi.json")).status_code == 429
        valid = await here.get("/v1/processes", headers=right)
        assert valid.status_code == 200, "who has a key that is in use is not shut out by a neighbour"
        assert (await elsewhere.get("/v1/time")).status_code == 200
        for path in ("/healthz", "/readyz", "/metrics"):
            assert (await here.get(path)).status_code == 200, path
        limited.clock.now += 10
        assert (await here.get("/v1/processes")).status_code == 401
    await limited.app.state.services.database.close()


async def test_an_address_over_its_rate_has_no_more_keys_looked_up(
    platform: Installation, acme: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited = Limited(platform, None, (0.1, 2))
    authenticator = limited.app.state.services.authenticator
    look_up, looked_up = authenticator.caller, []

    async def caller(credential: str) -> Any:
        looked_up.append(credential)
        return await look_up(credential)

    monkeypatch.setattr(authenticator, "caller", caller)
    async with limited.client() as client:

        async def ask(key: str) -> int:
            return (await client.get("/v1/processes", headers={"Authorization": f"Bearer {key}"})).status_code

        assert [await ask(f"wrong-{number}") for number in range(6)] == [401, 401, 429, 429, 429, 429]
        assert looked_up == ["wrong-0", "wrong-1"]
        limited.clock.now += 10
        assert await ask(acme.key) == 200
        assert [await ask("wrong"), await ask("wrong"), await ask(acme.key)] == [401, 429, 200]
    await limited.app.state.services.database.close()


@pytest.mark.parametrize("path", ["/v1/time", "/.well-known/jwks.json", "/openapi.json", "/docs", "/nowhere", "/v1/processes/callback/x"])
async def test_a_made_up_credential_is_none_where_nobody_judges_it(path: str, platform: Installation, acme: Caller) -> None:
    limited = Limited(platform, None, (0.1, 3))
    async with limited.client() as client:

        async def ask(key: str) -> int:
            return (await client.get(path, headers={"Authorization": f"Bearer {key}"})).status_code

        assert [await ask(f"made-up-{number}") == 429 for number in range(6)] == [False] * 3 + [True] * 3
        limited.clock.now += 10
        assert (await client.get("/v1/quota", headers={"Authorization": f"Bearer {acme.key}"})).status_code == 200
        assert [await ask(acme.key) == 429 for _ in range(3)] == [False, True, True], "and so is one that was good where it was judged"
        async with limited.client("192.0.2.8") as elsewhere:
            good = {"Authorization": f"Bearer {acme.key}"}
            assert {(await elsewhere.get("/v1/quota", headers=good)).status_code for _ in range(9)} == {200}, "there it is not counted"
    await limited.app.state.services.database.close()


async def test_a_revoked_credential_is_counted_everywhere(platform: Installation, client: httpx.AsyncClient, acme: Caller) -> None:
    limited = Limited(platform, None, (0.1, 3))
    key = await acme.ok("POST", "/v1/keys", {"name": "short", "role": "viewer"})
    async with limited.client() as here:
        headers = {"Authorization": f"Bearer {key['key']}"}
        assert (await here.get("/v1/quota", headers=headers)).status_code == 200
        assert (await acme.post(f"/v1/keys/{key['id']}/revoke")).is_success
        assert [(await here.get("/v1/time", headers=headers)).status_code for _ in range(5)] == [200] * 3 + [429] * 2
    await limited.app.state.services.database.close()


async def test_only_what_was_taken_is_given_back(platform: Installation, acme: Caller) -> None:
    """`/v1/processes/callback` is a run's by POST alone; by GET it is read as a process's id, and judged."""
    limited = Limited(platform, None, (0.1, 3))
    async with limited.client() as here:

        async def ask(key: str, path: str = "/v1/processes/callback") -> int:
            return (await here.get(path, headers={"Authorization": f"Bearer {key}"})).status_code

        assert [await ask(f"made-up-{number}") for number in range(5)] == [401] * 3 + [429] * 2
        limited.clock.now += 10
        assert {await ask(acme.key) for _ in range(5)} == {422}
        assert [await ask("made-up", "/v1/time") for _ in range(2)] == [200, 429], "the good one gave back what it took, and no more"
    await limited.app.state.services.database.close()


@pytest.mark.parametrize(
    ("method", "path", "is_judged"),
    [
        ("GET", "/v1/processes", True),
        ("GET", "/v1/processes/x", True),
        ("POST", "/v1/processes/x/cancel", True),
        ("GET", "/v1/processes/x/cancel", False),
        ("GET", "/v1/processes/x/y/z", False),
        ("GET", "/v1/processes/", False),
        ("DELETE", "/v1/processes", False),
        ("GET", "/v1/time", False),
        ("HEAD", "/v1/processes", False),
    ],
)
def test_where_a_credential_is_judged(method: str, path: str, is_judged: bool) -> None:
    judged = JudgedPaths([("GET", "/v1/processes"), ("GET", "/v1/processes/{process_id}"), ("POST", "/v1/processes/{process_id}/cancel")])
    assert judged.has(method, path) is is_judged


async def test_a_good_credential_takes_nothing_of_its_address(platform: Installation, client: httpx.AsyncClient, acme: Caller) -> None:
    limited = Limited(platform, None, (0.1, 1))
    callers = [await platform.tenant(client, acme.tenant, role="viewer") for _ in range(4)]
    async with limited.client() as here:
        for caller in callers:
            headers = {"Authorization": f"Bearer {caller.key}"}
            assert (await here.post("/v1/keys", headers=headers, json={})).status_code == 403
        assert [(await here.get("/v1/time")).status_code for _ in range(2)] == [200, 429]
    await limited.app.state.services.database.close()


async def test_what_a_role_may_not_do_is_counted_too(platform: Installation, client: httpx.AsyncClient, acme: Caller) -> None:
    limited = Limited(platform, (0.1, 3), None)
    viewer = await platform.tenant(client, acme.tenant, role="viewer")
    async with limited.client() as here:
        headers = {"Authorization": f"Bearer {viewer.key}"}
        answers = [(await here.post("/v1/keys", headers=headers, json={})).status_code for _ in range(5)]
        assert answers == [403, 403, 403, 429, 429]
    await limited.app.state.services.database.close()


def test_good_credentials_are_remembered_within_bounds() -> None:
    good = GoodCredentials()
    for number in range(GOOD_CREDENTIALS + 10):
        good.remember(b"Bearer %d" % number)
        good.remember(b"Bearer 0")
    assert [good.has(b"Bearer %d" % number) for number in (0, 1, GOOD_CREDENTIALS + 9)] == [True, False, True]
    good.forget(b"Bearer 0")
    assert not good.has(b"Bearer 0")


async def test_runs_are_never_limited(platform: Installation, steps: Steps) -> None:
    limited = Limited(platform, (0.001, 1), (0.001, 1))
    command = await steps.submitted(1)
    async with limited.client() as client:
        assert [(await client.get("/v1/time")).status_code for _ in range(2)] == [200, 429]
        steps.client = client
        driver = await steps.driver(command).started()
        for _ in range(5):
            assert (await driver.heartbeat()).status_code == 200
            assert (await client.post("/v1/processes/callback", json={}, headers={"Authorization": "Bearer old"})).status_code == 401
        assert (await driver.finished(await driver.make())).status_code == 200
    await limited.app.state.services.database.close()


async def test_off_unless_set(platform: Installation, client: httpx.AsyncClient) -> None:
    settings: Any = platform.api_settings
    assert RateLimits.of(settings.tenant_requests_per_second, settings.anonymous_requests_per_second, 10) == RateLimits(None, None)
    limits = RateLimits.of(5, 0.01, 10)
    assert limits.tenant is not None
    assert [limits.tenant.take("a") for _ in range(50)] == [0] * 50
    assert limits.tenant.take("a") == 1
    assert limits.address is not None
    assert limits.address.take("a") == 0, "a burst is at least one"
    assert {(await client.get("/v1/time")).status_code for _ in range(30)} == {200}
