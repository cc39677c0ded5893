"""Tokens of an identity provider beside API keys."""

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec

from control_plane.settings import ApiSettings
from tests.control_plane.caller import Caller
from tests.control_plane.commands import run
from tests.control_plane.identity_provider import IdentityProvider, rsa_key
from tests.control_plane.installation import Installation
from tests.control_plane.waiting import eventually

UPLOADS = "/v1/entities/e/versions/v/datasets/d/uploads"


@pytest.fixture
def provider() -> Iterator[IdentityProvider]:
    with IdentityProvider.serve() as provider:
        yield provider


@pytest_asyncio.fixture(loop_scope="session")
async def api(platform: Installation, provider: IdentityProvider) -> AsyncIterator[httpx.AsyncClient]:
    """An API of `platform` that knows the provider."""
    async with platform.but(**provider.settings).api() as client:
        yield client


async def status(api: httpx.AsyncClient, token: str, path: str = "/v1/processes") -> int:
    return (await ask(api, token, path)).status_code


async def ask(api: httpx.AsyncClient, token: str, path: str = "/v1/processes", method: str = "GET") -> httpx.Response:
    body = {} if method == "POST" else None
    return await asyncio.wait_for(api.request(method, path, headers={"Authorization": f"Bearer {token}"}, json=body), 20)


async def refusal(api: httpx.AsyncClient, token: str) -> str:
    """The detail of a 401, which never holds the token."""
    answer = await ask(api, token)
    assert (answer.status_code, answer.json()["type"]) == (401, "urn:stratum:problem:unauthenticated"), answer.text
    assert answer.headers["www-authenticate"] == "Bearer"
    assert not any(part in answer.text for part in token.split(".") if len(part) > 8)
    return str(answer.json()["detail"])


async def test_a_good_token_has_its_tenant_and_role(api: httpx.AsyncClient, provider: IdentityProvider, bare: Caller) -> None:
    made = await bare.ok("POST", "/v1/keys", {"name": "mine", "role": "viewer"})
    found = await ask(api, provider.token(bare.tenant, "admin"), "/v1/keys")
    assert made["id"] in [item["id"] for item in found.json()["items"]]
    for role, read, write, manage in (("viewer", 200, 403, 403), ("operator", 200, 422, 403), ("admin", 200, 422, 200)):
        token = provider.token(bare.tenant, role)
        seen = (await status(api, token), (await ask(api, token, UPLOADS, "POST")).status_code, await status(api, token, "/v1/keys"))
        assert seen == (read, write, manage), role
    assert provider.asked == 1


async def test_api_keys_go_on_working(api: httpx.AsyncClient, provider: IdentityProvider, bare: Caller) -> None:
    provider.up = False
    assert await status(api, bare.key) == 200
    assert "API key is unknown" in await refusal(api, "no-such-key-of-anybody")
    assert provider.asked == 0


async def test_without_a_provider_a_token_is_no_key(client: httpx.AsyncClient, provider: IdentityProvider, bare: Caller) -> None:
    assert "API key is unknown" in await refusal(client, provider.token(bare.tenant, "admin"))
    assert provider.asked == 0


async def test_the_highest_role_counts_and_names_are_mapped(platform: Installation, provider: IdentityProvider, bare: Caller) -> None:
    settings = {
        "oidc_roles": {"readers": "viewer", "engineers": "operator"},
        "oidc_roles_claim": "realm_access.roles",
        "oidc_tenant_claim": "https://stratum.example/tenant",
    }
    async with platform.but(**provider.settings, **settings).api() as api:
        for roles, code in ((["x", "readers", "engineers"], 422), ("readers engineers", 422), (["readers"], 403), (["admin"], 403)):
            changes = {"realm_access": {"roles": roles}, "https://stratum.example/tenant": bare.tenant, "tenant": None, "roles": None}
            answer = await ask(api, provider.token(bare.tenant, **changes), UPLOADS, "POST")
            assert answer.status_code == code, (roles, answer.text)


@pytest.mark.parametrize("roles", [None, [], "", ["owner"], {"admin": True}, 7, [["admin"]]])
async def test_no_role_no_entry(roles: Any, api: httpx.AsyncClient, provider: IdentityProvider, bare: Caller) -> None:
    answer = await ask(api, provider.token(bare.tenant, roles=roles))
    assert (answer.status_code, answer.json()["type"]) == (403, "urn:stratum:problem:forbidden")
    assert "claim 'roles'" in answer.json()["detail"]


async def test_a_token_without_a_role_takes_of_its_tenants_rate(platform: Installation, provider: IdentityProvider, bare: Caller) -> None:
    twice = {"tenant_requests_per_second": 0.0001, "request_burst_seconds": 20_000}
    async with platform.but(**provider.settings, **twice).api() as client:
        token = provider.token(bare.tenant, roles=[])
        assert [await status(client, token) for _ in range(3)] == [403, 403, 429]


@pytest.mark.parametrize("tenant", ["no-such-tenant", "", "Acme", "a\x00b", "a\n"])
async def test_an_unknown_tenant(tenant: str, api: httpx.AsyncClient, provider: IdentityProvider) -> None:
    assert "a tenant that does not exist here" in await refusal(api, provider.token(tenant, "admin"))


@pytest.mark.parametrize("tenant", [None, 7, ["acme"], {"a": 1}])
async def test_no_tenant(tenant: Any, api: httpx.AsyncClient, provider: IdentityProvider) -> None:
    assert "names no tenant" in await refusal(api, provider.token("", "admin", tenant=tenant))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"exp": -60}, "it has expired"),
        ({"exp": None}, "it has no exp"),
        ({"nbf": 60}, "it is not valid yet"),
        ({"iat": 600}, "it is not valid yet"),
        ({"aud": "another"}, "made for another audience"),
        ({"aud": None}, "it has no aud"),
        ({"iss": "https://elsewhere.example"}, "it is of another issuer"),
        ({"iss": None}, "it is of another issuer"),
    ],
)
async def test_claims_are_checked(
    changes: dict[str, Any], says: str, api: httpx.AsyncClient, provider: IdentityProvider, bare: Caller
) -> None:
    moved = {name: int(time.time()) + value if isinstance(value, int) else value for name, value in changes.items()}
    assert says in await refusal(api, provider.token(bare.tenant, "admin", **moved))


async def test_clocks_may_differ_a_little(api: httpx.AsyncClient, provider: IdentityProvider, bare: Caller) -> None:
    now = int(time.time())
    assert await status(api, provider.token(bare.tenant, "viewer", exp=now - 10)) == 200
    assert await status(api, provider.token(bare.tenant, "viewer", nbf=now + 15)) == 200


async def test_forgeries(api: httpx.AsyncClient, provider: IdentityProvider, bare: Caller) -> None:
    claims, good = provider.claims(bare.tenant, "admin"), provider.token(bare.tenant, "admin")
    assert await status(api, good) == 200
    for algorithm in ("none", "None", "NONE", ""):
        assert "must be signed with" in await refusal(api, provider.forged({"alg": algorithm, "kid": "first"}, claims))
    for algorithm in ("HS256", "HS384", "HS512"):
        # the classic: the public key taken for a shared secret
        assert "must be signed with" in await refusal(
            api, provider.forged({"alg": algorithm, "kid": "first"}, claims, provider.public_pem())
        )
    assert "do not fit" in await refusal(api, provider.forged({"alg": "ES256", "kid": "first"}, claims, provider.public_pem()))
    header, payload, signature = good.split(".")
    other = provider.token(bare.tenant, "viewer").split(".")[1]
    assert "signature does not fit" in await refusal(api, f"{header}.{other}.{signature}")
    assert "must be signed" in await refusal(api, provider.token(bare.tenant, "admin", algorithm="RS512")), "not in the list"
    provider.keys["stranger"] = provider.keys["first"]
    first, provider.keys["first"] = provider.keys["first"], rsa_key()
    assert "signature does not fit" in await refusal(api, provider.token(bare.tenant, "admin", kid="first")), "another key by this id"
    provider.keys["first"] = first
    for broken in ("a.b.c", "..", f"{header}..{signature}", f"{header}.{payload}.", "e30.e30.e30"):
        await refusal(api, broken)
    deep = base64.urlsafe_b64encode(b'{"alg":' + b"[" * 6000).decode().rstrip("=")
    await refusal(api, f"{deep}.{payload}.{signature}")


async def test_a_weak_key_is_not_trusted(api: httpx.AsyncClient, provider: IdentityProvider, bare: Caller) -> None:
    provider.keys["weak"] = rsa_key(1024)
    with pytest.warns(Warning, match="1024 bits"):
        token = provider.token(bare.tenant, "admin", kid="weak")
    await refusal(api, token)


async def test_keys_that_sign_nothing_are_passed_over(api: httpx.AsyncClient, provider: IdentityProvider, bare: Caller) -> None:
    provider.more_jwks = [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "shared", "alg": "HS256"},
        {"kty": "RSA", "kid": "broken"},
        {"kty": "RSA", "kid": 7},
        {**provider._jwk("first"), "kid": "for-encryption", "use": "enc"},
    ]
    assert await status(api, provider.token(bare.tenant, "viewer")) == 200
    provider.keys["for-encryption"] = provider.keys["first"]
    token = provider.token(bare.tenant, "viewer", kid="for-encryption")
    del provider.keys["for-encryption"]
    assert "the identity provider does not have" in await refusal(api, token)


async def test_elliptic_curves(api: httpx.AsyncClient, provider: IdentityProvider, bare: Caller) -> None:
    provider.keys = {"curve": ec.generate_private_key(ec.SECP256R1())}
    assert await status(api, provider.token(bare.tenant, "viewer", kid="curve", algorithm="ES256")) == 200


async def test_an_unknown_key_is_asked_for_once_in_a_while(api: httpx.AsyncClient, provider: IdentityProvider, bare: Caller) -> None:
    begin = time.monotonic()
    assert await status(api, provider.token(bare.tenant, "viewer")) == 200
    for number in range(30):
        provider.keys[f"unknown-{number}"] = provider.keys["first"]
        token = provider.token(bare.tenant, "viewer", kid=f"unknown-{number}")
        del provider.keys[f"unknown-{number}"]
        assert "the identity provider does not have" in await refusal(api, token)
    assert provider.asked <= 1 + (time.monotonic() - begin) / 5
    assert await status(api, provider.token(bare.tenant, "viewer")) == 200


async def test_rotated_keys_are_found(
    api: httpx.AsyncClient, provider: IdentityProvider, bare: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await status(api, provider.token(bare.tenant, "viewer")) == 200
    old = provider.token(bare.tenant, "viewer")
    provider.keys = {"second": rsa_key()}
    monkeypatch.setattr("control_plane.api.oidc_keys.REFETCH_SECONDS", 0.0)
    assert await status(api, provider.token(bare.tenant, "viewer", kid="second")) == 200
    assert "the identity provider does not have" in await refusal(api, old)


async def test_keys_are_asked_for_anew_beside_the_requests(
    api: httpx.AsyncClient, provider: IdentityProvider, bare: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = provider.token(bare.tenant, "viewer")
    assert await status(api, token) == 200
    provider.keys = {"second": rsa_key()}
    monkeypatch.setattr("control_plane.api.oidc_keys.REFETCH_SECONDS", 0.0)
    assert await status(api, token) == 200, "the keys are young"
    monkeypatch.setattr("control_plane.api.oidc_keys.REFRESH_SECONDS", 0.0)

    async def taken_back() -> bool:
        return await status(api, token) == 401

    await eventually(taken_back, what="the end of the key that the provider took back")


async def test_a_provider_that_is_down(api: httpx.AsyncClient, provider: IdentityProvider, bare: Caller) -> None:
    provider.up = False
    for _ in range(10):
        answer = await ask(api, provider.token(bare.tenant, "viewer"))
        assert (answer.status_code, answer.json()["type"]) == (503, "urn:stratum:problem:unavailable"), answer.text
        assert int(answer.headers["retry-after"]) > 0
    assert await status(api, bare.key) == 200


async def test_a_provider_that_goes_down_later(
    api: httpx.AsyncClient, provider: IdentityProvider, bare: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = provider.token(bare.tenant, "viewer")
    assert await status(api, token) == 200
    provider.up = False
    monkeypatch.setattr("control_plane.api.oidc_keys.REFETCH_SECONDS", 0.0)
    monkeypatch.setattr("control_plane.api.oidc_keys.REFRESH_SECONDS", 0.0)
    for _ in range(3):
        assert await status(api, token) == 200, "the keys that we have are good"
    provider.keys["new"] = rsa_key()
    assert await status(api, provider.token(bare.tenant, "viewer", kid="new")) == 503


async def test_a_provider_that_hangs_holds_nobody_else(
    api: httpx.AsyncClient, provider: IdentityProvider, bare: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("control_plane.api.oidc_keys.FETCH_SECONDS", 30.0)
    monkeypatch.setattr("control_plane.api.oidc_keys.REFETCH_SECONDS", 0.0)
    provider.answers_again.clear()
    waiting = [asyncio.create_task(ask(api, provider.token(bare.tenant, "viewer"))) for _ in range(5)]
    assert await status(api, bare.key) == 200
    assert not any(task.done() for task in waiting), "keys are served while the provider is waited for"
    provider.answers_again.set()
    assert {answer.status_code for answer in await asyncio.gather(*waiting)} == {200}
    assert provider.asked == 1
    provider.answers_again.clear()
    monkeypatch.setattr("control_plane.api.oidc_keys.FETCH_SECONDS", 0.2)
    provider.keys["new"] = rsa_key()
    assert await status(api, provider.token(bare.tenant, "viewer", kid="new")) == 503


async def test_a_provider_that_is_not_there(platform: Installation, provider: IdentityProvider, bare: Caller) -> None:
    async with platform.but(**provider.settings, oidc_jwks_url="http://127.0.0.1:9/keys").api() as api:
        assert await status(api, provider.token(bare.tenant, "viewer")) == 503


async def test_a_key_set_that_is_named(platform: Installation, provider: IdentityProvider, bare: Caller) -> None:
    settings = {"oidc_issuer": "https://login.example/", "oidc_audience": "stratum-test", "oidc_jwks_url": f"{provider.issuer}/keys"}
    async with platform.but(**settings).api() as api:
        assert await status(api, provider.token(bare.tenant, "viewer", iss="https://login.example/")) == 200
        assert await status(api, provider.token(bare.tenant, "viewer", iss="https://login.example")) == 401


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"ISSUER": "https://login.example"}, "STRATUM_OIDC_AUDIENCE must be set too"),
        ({"AUDIENCE": "stratum"}, "STRATUM_OIDC_ISSUER must be set too"),
        ({"ROLES_CLAIM": "groups"}, "STRATUM_OIDC_ISSUER and STRATUM_OIDC_AUDIENCE must be set too"),
        ({"ISSUER": "login.example", "AUDIENCE": "x"}, "STRATUM_OIDC_ISSUER: "),
        ({"ISSUER": "https://login.example", "AUDIENCE": "x", "ALGORITHMS": "RS256,HS256"}, "STRATUM_OIDC_ALGORITHMS"),
        ({"ISSUER": "https://login.example", "AUDIENCE": "x", "ALGORITHMS": "none"}, "STRATUM_OIDC_ALGORITHMS"),
        ({"ISSUER": "https://login.example", "AUDIENCE": "x", "ROLES": "viewer"}, "must be a JSON object"),
        ({"ISSUER": "https://login.example", "AUDIENCE": "x", "ROLES": '{"a": "owner"}'}, "STRATUM_OIDC_ROLES"),
    ],
)
async def test_half_a_configuration_is_an_error_at_the_start(changes: dict[str, str], says: str, still: Installation) -> None:
    code, output = await run(still, "api", **{f"STRATUM_OIDC_{name}": value for name, value in changes.items()})
    assert (code, says in output, "Traceback" in output) == (2, True, False), output


def test_settings_as_an_environment_has_them(still: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRATUM_OIDC_ISSUER", "https://login.example/")
    monkeypatch.setenv("STRATUM_OIDC_AUDIENCE", "stratum")
    monkeypatch.setenv("STRATUM_OIDC_ALGORITHMS", "RS256, EdDSA")
    monkeypatch.setenv("STRATUM_OIDC_ROLES", '{"data": "operator"}')
    settings = ApiSettings(**still.api_settings.model_dump(exclude={name for name in ApiSettings.model_fields if name.startswith("oidc_")}))
    assert (settings.oidc_issuer, settings.oidc_algorithms, settings.oidc_roles) == (
        "https://login.example/",
        ("RS256", "EdDSA"),
        {"data": "operator"},
    )
