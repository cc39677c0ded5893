"""Hostile ids, tokens, proposals and events: refused with a reason. Nothing crashes, nothing stands still, nobody else notices."""

import asyncio
import base64
import hashlib
import hmac
import json
from typing import Any
from urllib.parse import quote

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import example, given
from hypothesis import strategies as st

from contracts.identifiers import new_id
from contracts.manifest import Manifest
from contracts.topics import CUT_HEADER, MAX_MESSAGE_BYTES, MOST_READ_BYTES, REASON_HEADER, dead_letter
from control_plane import lifecycle, proposals, relay
from control_plane.acceptance import MOST_INPUT_BYTES
from control_plane.database import queries
from control_plane.errors import ProposalRejected
from control_plane.settings import ProposalLimits
from tests.control_plane.caller import ENTITY, VERSION, Caller
from tests.control_plane.direct import Direct, directly
from tests.control_plane.installation import Installation
from tests.control_plane.launcher import Launcher
from tests.control_plane.steps import Steps
from tests.control_plane.waiting import eventually
from tests.hostile import examples, spoiled

pytestmark = pytest.mark.security
LIMITS = ProposalLimits()


def _segment(value: Any) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _forgeries(platform: Installation, genuine: str) -> dict[str, str]:
    """Tokens that nobody of ours has signed, by the trick."""
    header, payload, signature = genuine.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    kid = jwt.get_unverified_header(genuine)["kid"]
    mine = Ed25519PrivateKey.generate()
    public = platform.keys.jwks()["keys"][0]
    key = {**public, "x": _segment(mine.public_key().public_bytes_raw())}

    def signed(**fields: Any) -> str:
        return jwt.encode(claims, mine, algorithm="EdDSA", headers={"kid": kid, **fields})

    def hashed(secret: bytes) -> str:
        head = f"{_segment({'alg': 'HS256', 'typ': 'JWT', 'kid': kid})}.{payload}"
        return f"{head}.{_segment(hmac.new(secret, head.encode(), hashlib.sha256).digest())}"

    return {
        "none": f"{_segment({'alg': 'none', 'kid': kid})}.{payload}.",
        "None": f"{_segment({'alg': 'None', 'kid': kid})}.{payload}.{signature}",
        "no signature": f"{header}.{payload}.",
        "HS256 with the public key": hashed(base64.urlsafe_b64decode(public["x"] + "==")),
        "HS256 with the key document": hashed(json.dumps(public).encode()),
        "another key": signed(),
        "an embedded key": signed(jwk=key),
        "a key elsewhere": signed(jku="http://127.0.0.1:1/jwks.json"),
        "a certificate elsewhere": signed(x5u="http://127.0.0.1:1/x"),
        "a critical header": signed(crit=["b64"], b64=False),
        "a kid that climbs": signed(kid="../../../../dev/null"),
        "a kid for SQL": signed(kid="' OR '1'='1"),
        "a kid that is a list": f"{_segment({'alg': 'EdDSA', 'kid': ['a']})}.{payload}.{signature}",
        "a kid that is an object": f"{_segment({'alg': 'EdDSA', 'kid': {}})}.{payload}.{signature}",
        "another payload": f"{header}.{_segment({**claims, 'tenant': 'somebody-else'})}.{signature}",
        "a header that is a list": f"{_segment([])}.{payload}.{signature}",
        "a header that nests": f"{_segment(b'[' * 3000)}.{payload}.{signature}",
        "a payload that nests": f"{header}.{_segment(b'[' * 3000)}.{signature}",
        "huge": f"{header}.{'A' * 20_000}.{signature}",
        "many dots": "." * 5000,
        "JWE": "a.b.c.d.e",
        "empty parts": "..",
    }


async def test_forged_tokens_are_refused_without_a_trace(
    steps: Steps, acme: Caller, platform: Installation, client: httpx.AsyncClient
) -> None:
    command = await steps.queued(1)
    before = await acme.process(str(command.process_id))
    for trick, token in _forgeries(platform, command.flow_token).items():
        driver = steps.driver(command)
        answer = await driver.report("started", token=token)
        assert (answer.status_code, answer.json()["type"]) == (401, "urn:stratum:problem:unauthenticated"), trick
        assert token not in answer.text or len(token) < 6, trick
        asked = await client.get("/v1/processes", headers={"Authorization": f"Bearer {token}"})
        assert asked.status_code == 401, trick
    assert await acme.process(str(command.process_id)) == before
    assert (await steps.driver(command).report("started")).status_code == 200, "the genuine one is still good"


async def test_a_genuine_token_with_changed_characters(steps: Steps, client: httpx.AsyncClient) -> None:
    token = (await steps.queued(1)).flow_token

    @examples(60)
    @given(at=st.integers(0, len(token) - 1), to=st.characters(min_codepoint=33, max_codepoint=126))
    def mutated(at: int, to: str) -> None:
        tokens.append(token[:at] + to + token[at + 1 :])

    tokens: list[str] = []
    mutated()
    for changed in {each for each in tokens if each != token}:
        answer = await client.post(
            "/v1/processes/callback",
            json={"type": "heartbeat", "sequence": 1, "run_id": "r"},
            headers={"Authorization": f"Bearer {changed}"},
        )
        # base64 ignores the last bits of its last character: such a token is the same one, and not for heartbeats
        assert answer.status_code == 401, changed


async def test_ids_of_every_kind(acme: Caller) -> None:
    """In paths, queries and bodies: refused as wrong, or not found; never more."""

    @examples(40)
    @given(
        st.one_of(
            st.text(min_size=1, max_size=40), st.sampled_from(["..", "a..b", "\u0000", "%00", "a/b", "x" * 3000, "\ufeff", "١", "-", "a\n"])
        )
    )
    def made(text: str) -> None:
        names.append(text)

    names: list[str] = []
    made()
    for name in names:
        quoted = quote(name.encode(errors="surrogatepass"), safe="")
        for path in (f"/v1/processes/{quoted}", f"/v1/entities/{quoted}/versions", f"/v1/entities/e/versions/v/datasets/{quoted}"):
            answer = await acme.get(path)
            assert answer.status_code in (404, 405, 422), (path, answer.text)
            assert answer.headers["content-type"] == "application/problem+json"
        body = {"entity_id": name, "data_version": VERSION, "action": "filter", "parameters": {"condition": name}}
        content = json.dumps(body).encode()
        posted = await acme.request("POST", "/v1/processes", content=content, headers={"Content-Type": "application/json"})
        assert posted.status_code in (400, 404, 422), (name, posted.text)
        asked = await acme.get(f"/v1/processes?entity_id={quoted}&cursor={quoted}")
        assert asked.status_code in (200, 422), (name, asked.text)


async def test_proposals_of_every_kind_are_sealed_as_they_are_or_refused(still: Installation) -> None:
    async with directly(still) as direct:
        command = await direct.command()
        driver = await direct.driver(command).started()
        usual = driver.proposal(driver.proposed(await driver.write())).model_dump(mode="json")
        async with direct.reconciler.database.transaction() as connection:
            current = await lifecycle.lock(connection, command.process_id)
        assert current is not None
        storage, key = direct.reconciler.storage, driver.path.proposal_key(driver.run_id)
        reasons: list[str] = []

        @examples(60)
        @given(spoiled(usual))
        @example(b"[" * 100_000)
        @example(b"")
        @example(b"\xff\xfe")
        def judged(body: bytes) -> None:
            driver.store.put_object(Bucket=driver.root.bucket, Key=key, Body=body)
            try:
                checked = proposals.checked(storage, current, LIMITS)
            except ProposalRejected as error:
                reasons.append(str(error))
            else:
                made = proposals.manifest(current, checked[0], current.now).to_bytes()
                assert Manifest.model_validate_json(made).location.startswith(current.root.uri)

        await asyncio.to_thread(judged)
        assert len(reasons) > 10
        assert all(0 < len(reason) < 8000 for reason in reasons)


HOSTILE_PROPOSALS = {
    "garbage": b"\x00\xff",
    "deep": b'{"datasets":' * 50_000,
    "too large": b" " * (LIMITS.max_proposal_bytes + 1),
    "infinite": b'{"metrics": 1e999}',
    "wrong a million times": b'{"datasets":[{"files":[' + b"{}," * 1_000_000 + b"{}]}]}",
}


@pytest.mark.parametrize("kind", HOSTILE_PROPOSALS)
async def test_a_hostile_proposal_ends_its_process_alone(kind: str, still: Installation) -> None:
    async with directly(still) as direct:
        driver = await direct.driver(await direct.command(1)).started()
        other = await direct.driver(await direct.command(2)).started()
        await driver.write()
        assert (await driver.finished(await driver.propose(HOSTILE_PROPOSALS[kind]))).status_code == 200
        assert (await other.finished(await other.make())).status_code == 200
        while await direct.seal():
            pass
        ended = await direct.caller.process(str(driver.command.process_id))
        assert (ended["state"], ended["attempts"][0]["error_class"]) == ("failed", "PROPOSAL_REJECTED"), ended["reason"]
        assert "refused" in ended["reason"]
        assert (await direct.caller.process(str(other.command.process_id)))["state"] == "succeeded"
        assert driver.manifest() is None


async def test_more_files_than_may_be_are_refused(still: Installation) -> None:
    async with directly(still.but(max_dataset_files=3)) as direct:
        driver = await direct.driver(await direct.command(1)).started()
        files = [await driver.write(name=f"part-{number:05}.zstd.parquet") for number in range(4)]
        await driver.finished(await driver.propose(driver.proposal(driver.proposed(*files))))
        assert await direct.seal()
        ended = await direct.caller.process(str(driver.command.process_id))
        assert (ended["state"], "more than" in ended["reason"]) == ("failed", True), ended["reason"]


async def test_a_proposal_that_cannot_be_judged_for_a_defect_of_ours_stops_nobody(
    still: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with directly(still) as direct:
        driver = await direct.driver(await direct.command(1)).started()
        await driver.finished(await driver.make())

        def defect(*_: object) -> None:
            raise RecursionError

        monkeypatch.setattr(proposals, "compare", defect)
        assert await direct.seal()
        ended = await direct.caller.process(str(driver.command.process_id))
        assert (ended["state"], "RecursionError" in ended["reason"]) == ("failed", True)


async def test_events_of_every_kind_are_put_aside_and_nothing_stands_still(steps: Steps, acme: Caller, launcher: Launcher) -> None:
    command, behind = await steps.queued(1), await steps.queued(2)
    usual = launcher.event("submitted", command)
    forged = [
        {**launcher.event("ended", command), "tenant": "somebody-else"},
        {**launcher.event("ended", command), "process_id": str(new_id())},
        {**launcher.event("refused", command), "attempt": 2**31 - 1},
    ]
    large = {
        "a huge type": json.dumps({**usual, "type": "x" * 3_500_000}).encode(),
        "a huge text": json.dumps({**usual, "at": "x" * 3_500_000}).encode(),
        "spaces": b" " * 3_900_000,
        "deep": b"[" * 1_000_000,
    }
    values: list[bytes] = []

    @examples(60)
    @given(spoiled(usual))
    def made(value: bytes) -> None:
        values.append(value)

    made()
    letters = launcher.received[launcher.topics.dlq(launcher.topics.events)]
    before = len(letters)
    for value in [*large.values(), *(json.dumps(event).encode() for event in forged), *values]:
        await launcher.publish(value, key=b"one partition", partition=0)
    await launcher.publish(b"x", key=b"k" * 900_000, partition=0)
    await launcher.publish(json.dumps(launcher.event("submitted", behind)).encode(), partition=0)
    await acme.until(str(behind.process_id), "submitted", 60)
    assert (await acme.process(str(command.process_id)))["state"] in ("queued", "submitted")

    async def come() -> bool:
        return len(letters) >= before + len(large) + 1

    await eventually(come, what="the dead letters")
    for letter in letters[before:]:
        headers = dict(letter.headers())
        assert 0 < len(headers[REASON_HEADER]) <= 4000
        assert len(letter.value() or b"") <= MOST_READ_BYTES
    cut = [letter for letter in letters[before:] if CUT_HEADER in dict(letter.headers())]
    assert {dict(letter.headers())[CUT_HEADER] for letter in cut} == {str(len(value)).encode() for value in large.values()}


def test_a_dead_letter_fits_whatever_the_message_was() -> None:
    for key in (None, b"", b"k" * 4_000_000, "ü" * 1_000_000):
        for value in (None, b"", b"v" * MOST_READ_BYTES, b"v" * 4_000_000):
            kept_key, kept, headers = dead_letter(key, value, "\ud800r" * 2_000_000, "t" * 249, 1, 2**60)
            size = len(kept_key or b"") + len(kept or b"") + sum(len(name) + len(text) for name, text in headers.items())
            assert size < min(1_000_000, MAX_MESSAGE_BYTES)


@pytest.mark.parametrize("parameters", ["one long text", "many tiny numbers", "many inputs"])
async def test_whatever_is_accepted_makes_a_message_that_is_read(parameters: str, still: Installation) -> None:
    """The largest of each kind that acceptance takes, and one more of it that it does not."""
    async with directly(still) as direct:
        largest, beyond = await _limits_of(direct, parameters)
        assert beyond.status_code == 422, beyond.text
        assert largest.status_code == 202, largest.text
        await direct.release()
        settings = still.relay_settings
        async with direct.reconciler.database.connection() as connection:
            (row,) = [row async for row in queries.ready_messages(connection, limit=10)]
        message = relay.outgoing(row, settings.topics, still.keys, settings.callback_url)
        assert len(message.value or b"") < MOST_READ_BYTES


async def _limits_of(direct: Direct, kind: str) -> tuple[httpx.Response, httpx.Response]:
    """The answers to the largest request of a kind that is taken, found by halving, and to one that is too large."""

    def body(size: int) -> dict[str, Any]:
        common = {"entity_id": ENTITY, "data_version": VERSION, "output_dataset": f"out-{size}"}
        if kind == "many inputs":
            inputs = {f"v{number}": "source" for number in range(size)}
            return {**common, "action": "sql", "parameters": {"query": "SELECT 1 AS one FROM v0", "inputs": inputs}}
        padding = "x" * size if kind == "one long text" else None
        labels: dict[str, str] = {f"l{number}": "x" * 256 for number in range(32)}
        if padding is not None:
            return {**common, "action": "filter", "parameters": {"condition": f"carrier = '{padding}'"}, "labels": labels}
        keys = ", ".join(["1e-37"] * size)
        return {**common, "action": "filter", "parameters": {"condition": f"delay IN ({keys})"}, "labels": labels}

    low, high, taken, refused = 1, 300_000, None, None
    for _ in range(12):
        size = (low + high) // 2
        answer = await direct.caller.post("/v1/processes", body(size))
        if answer.status_code == 202:
            low, taken = size, answer
            await direct.caller.ok("POST", f"/v1/processes/{answer.json()['id']}/cancel")
        else:
            high, refused = size, answer
    assert taken is not None
    assert refused is not None
    assert MOST_INPUT_BYTES < MOST_READ_BYTES
    return await direct.caller.post("/v1/processes", {**body(low), "output_dataset": "largest"}), refused
