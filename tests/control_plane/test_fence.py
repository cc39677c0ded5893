"""Who is heard: every report, in every state of its attempt, with every kind of token."""

from datetime import datetime, timedelta
from itertools import product
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contracts.command import AttemptRef, Command
from contracts.states import ATTEMPT_RANK, AttemptState
from tests.control_plane.direct import Direct, directly
from tests.control_plane.installation import Installation

_A = AttemptState
BEFORE = (_A.RELEASED, _A.PUBLISHED, _A.SUBMITTED)
OPEN = (_A.STARTED, _A.SEALING)
TYPES = ("started", "heartbeat", "finished", "failed")
RUN, SECOND = "run-1", "run-2"

GENUINE: dict[str, dict[AttemptState, int]] = {
    # what the granted run, with the token made for it, is answered; before the grant, the run that asks for it
    "started": {_A.CREATED: 410, **dict.fromkeys((*BEFORE, *OPEN), 200)},
    "heartbeat": {**dict.fromkeys((_A.CREATED, *BEFORE), 422), **dict.fromkeys(OPEN, 200)},
    "finished": {**dict.fromkeys((_A.CREATED, *BEFORE), 422), **dict.fromkeys((*OPEN, _A.SUCCEEDED), 200)},
    "failed": {**dict.fromkeys((_A.CREATED, *BEFORE), 422), **dict.fromkeys((*OPEN, _A.FAILED), 200)},
}


def _second_pod(kind: str, state: AttemptState) -> int:
    """Another pod with the same command: it has the flow token, and the first one's run token at most."""
    if kind != "started":
        return 401
    return 409 if ATTEMPT_RANK[state] >= 40 else GENUINE[kind][state]


TOKENS: dict[str, Any] = {
    # kind of token -> status for (type, state)
    "own": lambda kind, state: GENUINE[kind].get(state, 410),
    "second pod": _second_pod,
    "wrong purpose": lambda *_: 401,
    "expired": lambda *_: 401,
    "another run's": lambda kind, state: 401,
    "another attempt's": lambda *_: 410,
    "another step's": lambda *_: 410,
    "another tenant's": lambda *_: 410,
    "cancel": lambda *_: 401,
    "alg none": lambda *_: 401,
    "other key": lambda *_: 401,
    "API key": lambda *_: 401,
}
UNSIGNED = ("cancel", "alg none", "other key", "API key")
"""Of these nothing is known, not even of which process they are: there is nothing to audit them under."""


def _token(direct: Direct, name: str, kind: str, command: Command, now: datetime) -> str:
    keys, caller = direct.installation.keys, direct.caller
    ref = AttemptRef.model_validate(command.model_dump(include=set(AttemptRef.model_fields)))
    starts = (kind == "started") is not (name == "wrong purpose")
    audience: Any = "stratum:start" if starts else "stratum:run"
    run_id = None if starts else RUN
    later = now + timedelta(minutes=10)

    def signed(expires_at: datetime = later, run: str | None = run_id, audience: Any = audience, **changes: Any) -> str:
        return keys.sign(audience, ref.model_copy(update=changes), expires_at, run)

    good = signed()
    body, header = jwt.decode(good, options={"verify_signature": False}), jwt.get_unverified_header(good)
    other: dict[str, Any] = {
        "expired": lambda: signed(expires_at=now - timedelta(seconds=1)),
        "another run's": lambda: signed(run="run-0"),
        "another attempt's": lambda: signed(attempt=2),
        "another step's": lambda: signed(step=1),
        "another tenant's": lambda: signed(tenant="somebody-else"),
        "cancel": lambda: signed(audience="stratum:cancel"),
        "alg none": lambda: jwt.encode(body, None, algorithm="none", headers=header | {"alg": "none"}),
        "other key": lambda: jwt.encode(body, Ed25519PrivateKey.generate(), algorithm="EdDSA", headers=header),
        "API key": lambda: caller.key,
    }
    return str(other[name]()) if name in other else good


PROCESS_OF = {
    _A.CREATED: "accepted", _A.RELEASED: "queued", _A.PUBLISHED: "queued", _A.SUBMITTED: "submitted", _A.STARTED: "running",
    _A.SEALING: "sealing", _A.SUCCEEDED: "succeeded", _A.FAILED: "failed", _A.LOST: "failed", _A.CANCELLED: "cancelled",
}  # fmt: skip


async def _put(direct: Direct, state: AttemptState) -> None:
    """Put the one process there, its attempt into `state`, as if nothing had been before."""
    rank = ATTEMPT_RANK[state]
    process = PROCESS_OF[state]
    await direct.sql("DELETE FROM outbox WHERE attempt > 1")
    await direct.sql("DELETE FROM attempts WHERE number > 1")
    await direct.sql("DELETE FROM refused_callbacks")
    await direct.sql(
        "UPDATE attempts SET state = $1, rank = $2::smallint, run_id = CASE WHEN $2::smallint >= 40 THEN $3 END, last_sequence = 0, "
        "start_before = now() + interval '1 hour', lease_until = now() + interval '1 hour', deadline = now() + interval '1 hour', "
        "ended_at = CASE WHEN $2::smallint = 60 THEN now() END, proposal_sha256 = NULL",
        state.value,
        rank,
        RUN,
    )
    final = process in ("succeeded", "failed", "cancelled")
    await direct.sql("UPDATE processes SET state = $1, ended_at = CASE WHEN $2 THEN now() END", process, final)


async def _rows(direct: Direct) -> Any:
    return await direct.sql(
        "SELECT p.state, p.reason, p.last_event, a.number, a.state, a.run_id, a.last_sequence FROM processes p "
        "JOIN attempts a ON a.process_id = p.id ORDER BY a.number"
    )


async def test_every_report_in_every_state_with_every_token(still: Installation) -> None:
    async with directly(still) as direct:
        command = await direct.command()
        await direct.sql("ALTER TABLE processes DISABLE TRIGGER final_is_final")
        await direct.sql("ALTER TABLE attempts DISABLE TRIGGER final_is_final")
        await direct.sql("ALTER TABLE refused_callbacks DISABLE TRIGGER refused_callbacks_are_append_only")
        await direct.sql("UPDATE steps SET limits = limits || '{\"max_attempts\": 1}'")
        now = await direct.now()
        key = direct.driver(command).path.proposal_key(RUN)
        fields: dict[str, Any] = {
            "finished": {"proposal": {"key": key, "sha256": f"sha256:{'0' * 64}"}},
            "failed": {"error": {"class": "NO_SPACE", "message": "no room", "retryable": True}},
        }
        heard = 0
        for kind, state, (name, status) in product(TYPES, AttemptState, TOKENS.items()):
            if name == "another run's" and kind == "started":
                continue  # a flow token names no run
            await _put(direct, state)
            before = await _rows(direct)
            run_id = SECOND if name == "second pod" else RUN
            body = {"type": kind, "sequence": 1, "run_id": run_id, **fields.get(kind, {})}
            headers = {"Authorization": f"Bearer {_token(direct, name, kind, command, now)}"}
            if name == "second pod" and kind != "started":
                headers = {"Authorization": f"Bearer {_token(direct, 'own', kind, command, now)}"}
            answer = await direct.client.post("/v1/processes/callback", json=body, headers=headers)
            case = f"{kind} while {state} with {name}: {answer.text}"
            assert answer.status_code == status(kind, state), case
            audited = [tuple(row) for row in await direct.sql("SELECT type, run_id, attempt FROM refused_callbacks")]
            if answer.status_code == 200:
                heard += 1
                assert audited == [], case
                continue
            assert await _rows(direct) == before, case
            if name == "another tenant's" or name in UNSIGNED:
                assert audited == [], case
            else:
                assert audited == [(kind, run_id, 2 if name == "another attempt's" else 1)], case
        assert heard == sum(1 for kind in TYPES for answer in GENUINE[kind].values() if answer == 200) + len(BEFORE)
