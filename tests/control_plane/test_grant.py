"""Who may write: exactly one run an attempt, and only with a token made for it."""

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import asyncpg
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contracts.command import AttemptRef
from contracts.identifiers import new_id
from control_plane.api import callbacks
from control_plane.api.callbacks import MOST_OF_REASON, MOST_REFUSALS
from control_plane.database import queries
from control_plane.metrics import REFUSED_CALLBACKS
from tests.control_plane.caller import Caller
from tests.control_plane.driver import Driver
from tests.control_plane.installation import Installation
from tests.control_plane.steps import Steps


async def _refused(sql: asyncpg.Connection, driver: Driver) -> list[tuple[str, str]]:
    rows = await sql.fetch("SELECT run_id, type FROM refused_callbacks WHERE process_id = $1 ORDER BY id", driver.command.process_id)
    return [tuple(row) for row in rows]


async def test_of_racing_runs_one_is_granted(steps: Steps, acme: Caller, sql: asyncpg.Connection) -> None:
    command = await steps.submitted()
    drivers = [steps.driver(command) for _ in range(16)]
    answers = await asyncio.gather(*(driver.report("started") for driver in drivers))
    statuses = [answer.status_code for answer in answers]
    assert sorted(statuses) == [200] + [409] * 15
    granted = drivers[statuses.index(200)]
    assert {answer.json()["type"] for answer in answers if answer.status_code == 409} == {"urn:stratum:problem:run-superseded"}
    assert sorted(await _refused(sql, granted)) == sorted((driver.run_id, "started") for driver in drivers if driver is not granted)
    process = await acme.process(str(command.process_id))
    assert process["attempts"][0]["run_id"] == granted.run_id
    assert await acme.history(process["id"]) == ["accepted", "queued", "submitted", "running"]
    assert (await granted.finished(await granted.make())).status_code == 200
    await acme.until(process["id"], "succeeded")


async def test_the_same_run_may_ask_again(steps: Steps, acme: Caller) -> None:
    driver = await steps.running()
    again = await driver.report("started", token=driver.command.flow_token)
    assert (again.status_code, again.json()["state"]) == (200, "started")
    assert (await acme.history(str(driver.command.process_id))).count("running") == 1


async def test_a_grant_and_each_heartbeat_give_a_fresh_token(steps: Steps, platform: Installation) -> None:
    driver = await steps.running()
    claims = [platform.keys.verify(driver.token, "stratum:run", now=datetime.now(UTC))]
    for _ in range(2):
        answer = await driver.heartbeat(tasks_done=1, tasks_total=2)
        grant = answer.json()
        assert grant["run_token"] == driver.token
        assert grant["heartbeat_seconds"] == platform.api_settings.heartbeat_seconds
        assert grant["storage_root"] == driver.command.storage_root
        claims.append(platform.keys.verify(grant["run_token"], "stratum:run", now=datetime.now(UTC)))
    assert {c.run_id for c in claims} == {driver.run_id}
    assert claims == sorted(claims, key=lambda c: c.exp)
    left = claims[-1].exp - datetime.now(UTC)
    limit = driver.command.time_limit_seconds
    assert timedelta(seconds=limit + 880) < left <= timedelta(seconds=limit + 900), "as long as the run may take, and a while more"


async def test_progress_never_goes_back(steps: Steps, acme: Caller) -> None:
    driver = await steps.running()
    await driver.heartbeat(fraction=0.5)
    driver.sequence -= 1
    await driver.heartbeat(fraction=0.1)
    assert (await acme.process(str(driver.command.process_id)))["attempts"][0]["progress"] == {"fraction": 0.5}


def _ref(driver: Driver, **changes: Any) -> AttemptRef:
    return AttemptRef.model_validate({**driver.command.model_dump(include=set(AttemptRef.model_fields)), **changes})


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("expired", 401),
        ("other run", 401),
        ("start token", 401),
        ("cancel token", 401),
        ("other attempt", 410),
        ("other step", 410),
        ("other tenant", 410),
        ("other process", 410),
        ("no signature", 401),
        ("foreign key", 401),
        ("foreign key under our id", 401),
        ("nonsense", 401),
        ("api key", 401),
    ],
)
async def test_only_the_token_made_for_the_run_is_heard(
    name: str, status: int, steps: Steps, acme: Caller, sql: asyncpg.Connection
) -> None:
    driver = await steps.running()
    keys = steps.installation.keys
    now = await sql.fetchval("SELECT clock_timestamp()")
    later = now + timedelta(minutes=5)
    body = jwt.decode(driver.token, options={"verify_signature": False})
    foreign = Ed25519PrivateKey.generate()
    token = {
        "expired": lambda: keys.sign("stratum:run", _ref(driver), now, driver.run_id),
        "other run": lambda: keys.sign("stratum:run", _ref(driver), later, "another-run"),
        "start token": lambda: driver.command.flow_token,
        "cancel token": lambda: keys.sign("stratum:cancel", _ref(driver), later, driver.run_id),
        "other attempt": lambda: keys.sign("stratum:run", _ref(driver, attempt=2), later, driver.run_id),
        "other step": lambda: keys.sign("stratum:run", _ref(driver, step=1), later, driver.run_id),
        "other tenant": lambda: keys.sign("stratum:run", _ref(driver, tenant="somebody-else"), later, driver.run_id),
        "other process": lambda: keys.sign("stratum:run", _ref(driver, process_id=new_id()), later, driver.run_id),
        "no signature": lambda: jwt.encode(body, None, algorithm="none", headers=jwt.get_unverified_header(driver.token) | {"alg": "none"}),
        "foreign key": lambda: jwt.encode(body, foreign, algorithm="EdDSA"),
        "foreign key under our id": lambda: jwt.encode(
            body, foreign, algorithm="EdDSA", headers={"kid": jwt.get_unverified_header(driver.token)["kid"]}
        ),
        "nonsense": lambda: "eyJ.nonsense.token",
        "api key": lambda: acme.key,
    }[name]()
    before = await acme.process(str(driver.command.process_id))
    for kind, fields in {"heartbeat": {}, "failed": {"error": {"class": "FORGED", "message": "no"}}}.items():
        answer = await driver.report(kind, token=token, **fields)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert token not in answer.text
    assert await acme.process(str(driver.command.process_id)) == before
    if name in ("expired", "other run", "other attempt", "other step"):
        assert await _refused(sql, driver) == [(driver.run_id, "heartbeat"), (driver.run_id, "failed")]
    assert (await driver.heartbeat()).status_code == 200


async def test_no_credential_and_a_run_token_for_the_start(steps: Steps) -> None:
    command = await steps.submitted()
    driver = steps.driver(command)
    body = {"type": "started", "sequence": 1, "run_id": driver.run_id}
    answer = await driver.client.post("/v1/processes/callback", json=body)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    run_token = steps.installation.keys.sign("stratum:run", _ref(driver), datetime.now(UTC) + timedelta(hours=1), driver.run_id)
    assert (await driver.report("started", token=run_token)).status_code == 401
    heartbeat = await driver.report("heartbeat", token=run_token)
    assert (heartbeat.status_code, heartbeat.json()["type"]) == (422, "urn:stratum:problem:invalid")
    assert (await driver.report("started")).status_code == 200


async def test_a_cancelled_attempt_is_over_for_its_runs(steps: Steps, acme: Caller, sql: asyncpg.Connection) -> None:
    driver = await steps.running()
    waiting = steps.driver(driver.command)
    assert (await acme.post(f"/v1/processes/{driver.command.process_id}/cancel")).status_code == 202
    for answer in (await driver.heartbeat(), await driver.finished(await driver.make()), await driver.failed(retryable=True)):
        assert (answer.status_code, answer.json()["type"]) == (410, "urn:stratum:problem:attempt-ended")
    assert (await waiting.report("started")).status_code in (409, 410)
    assert await _refused(sql, driver) == [
        (driver.run_id, "heartbeat"), (driver.run_id, "finished"), (driver.run_id, "failed"), (waiting.run_id, "started"),
    ]  # fmt: skip
    assert driver.manifest() is None


async def test_a_run_that_starts_too_late_is_refused(steps: Steps, acme: Caller, sql: asyncpg.Connection) -> None:
    command = await steps.submitted()
    # the token is good for a whole day: it is the attempt's own deadline that is over
    await sql.execute(
        "UPDATE attempts SET start_before = clock_timestamp() - interval '1 second' WHERE process_id = $1", command.process_id
    )
    answer = await steps.driver(command).report("started")
    assert answer.status_code == 410, answer.text
    failed = await acme.until(str(command.process_id), "failed")
    assert failed["reason"] == "the run did not start before its deadline: its job waited; at last: the job exists"


WRONG_REPORTS: list[tuple[dict[str, Any], str]] = [
    ({"type": "danced"}, "/type"),
    ({"sequence": 0}, "/sequence"),
    ({"run_id": "../r"}, "/run_id"),
    ({"type": "finished"}, "/proposal"),
    ({"type": "failed"}, "/error"),
    ({"type": "failed", "error": {"class": "lower", "message": ""}}, "/error/class"),
    ({"type": "heartbeat", "progress": {"fraction": 2}}, "/progress/fraction"),
    ({"typo": 1}, "/typo"),
]


async def test_wrong_reports_are_refused_by_field(steps: Steps) -> None:
    driver = await steps.running()
    for changes, pointer in WRONG_REPORTS:
        body = {"type": "started", "sequence": 1, "run_id": driver.run_id, **changes}
        answer = await steps.client.post("/v1/processes/callback", json=body, headers={"Authorization": f"Bearer {driver.token}"})
        assert answer.status_code == 422, changes
        assert pointer in [error["pointer"] for error in answer.json()["errors"]]
        stranger = await steps.client.post("/v1/processes/callback", json=body, headers={"Authorization": "Bearer x"})
        assert stranger.status_code == 401, "whoever we do not know is told nothing of the form"


async def test_a_message_with_a_zero_byte_is_still_heard(steps: Steps, acme: Caller) -> None:
    driver = await steps.running()
    answer = await driver.failed(retryable=False, message="cannot cast 'a\x00b' to int", error_class="CAST_INVALID_INPUT")
    assert answer.status_code == 200, answer.text
    failed = await acme.until(str(driver.command.process_id), "failed")
    assert failed["reason"] == "cannot cast 'a\ufffdb' to int"


async def test_refusals_without_end_are_kept_within_bounds(steps: Steps, acme: Caller, sql: asyncpg.Connection) -> None:
    driver = await steps.succeeded()
    now = await sql.fetchval("SELECT clock_timestamp()")

    async def kept(expired_days_ago: list[int]) -> int:
        for days in expired_days_ago:
            token = steps.installation.keys.sign("stratum:run", _ref(driver), now - timedelta(days=days), driver.run_id)
            assert (await driver.report("heartbeat", token=token)).status_code == 401
        return len(await _refused(sql, driver))

    counted = REFUSED_CALLBACKS.labels("unauthenticated", "no")._value.get()
    assert await kept([300] * (MOST_OF_REASON + 5)) == MOST_OF_REASON
    assert await kept(list(range(1, MOST_REFUSALS + 5))) == MOST_REFUSALS, "another expiry is another reason"
    assert REFUSED_CALLBACKS.labels("unauthenticated", "no")._value.get() > counted + 5


async def test_an_expired_token_does_not_wait_for_the_process(steps: Steps, sql: asyncpg.Connection, acme: Caller) -> None:
    driver = await steps.running()
    for _ in range(MOST_OF_REASON):
        old = steps.installation.keys.sign("stratum:run", _ref(driver), datetime(2026, 1, 1, tzinfo=UTC), driver.run_id)
        assert (await driver.report("heartbeat", token=old)).status_code == 401
    async with sql.transaction():
        await sql.execute("SELECT FROM processes WHERE id = $1 FOR UPDATE", driver.command.process_id)
        assert (await asyncio.wait_for(driver.report("heartbeat", token=old), 10)).status_code == 401


async def test_a_token_that_expires_while_the_process_is_waited_for_is_refused(
    steps: Steps, platform: Installation, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = await steps.running()
    now = await sql.fetchval("SELECT clock_timestamp()")

    async def before_the_wait(_: asyncpg.Connection) -> datetime:
        return now - timedelta(hours=1)

    monkeypatch.setattr(callbacks, "queries", SimpleNamespace(database_time=before_the_wait, refuse_callback=queries.refuse_callback))
    refused = await driver.report("heartbeat", token=platform.keys.sign("stratum:run", _ref(driver), now, driver.run_id))
    assert (refused.status_code, "The token expired" in refused.text) == (401, True)
    assert (await driver.heartbeat()).status_code == 200, "its own is good for longer"
