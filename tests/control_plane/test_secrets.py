"""No credential is in anything that is written, but where it is meant to be: in the token field of a command."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
import structlog

from control_plane.api_keys import key_hash
from tests.control_plane.caller import ENTITY, VERSION
from tests.control_plane.driver import Driver
from tests.control_plane.installation import Installation, prepare_topics, running
from tests.control_plane.launcher import Launcher, following
from tests.control_plane.steps import Steps

PATHS = ("", "/events", "/logs")


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """Every event that is logged, just before it is written: whatever stream a logger took when it was made."""
    events: list[str] = []

    def keep(_: Any, __: str, event: Any) -> Any:
        events.append(repr(event))
        return event

    processors = structlog.get_config()["processors"]  # the very list, which loggers that exist use too
    processors.insert(len(processors) - 1, keep)
    yield events
    processors.remove(keep)


async def test_no_secret_is_written(still: Installation, capfd: pytest.CaptureFixture[str], logged: list[str]) -> None:
    prepare_topics(still)
    answers: list[str] = []
    tokens: list[str] = []
    async with still.api() as client:
        acme = await still.tenant(client)
        await acme.ingest()
        with running(still.relay(), still.reconcile()), following(still) as launcher:
            steps = Steps(still, client, acme, launcher)
            done = await steps.succeeded(1)
            failed = await steps.running(2)
            assert (await failed.failed(retryable=False)).status_code == 200
            await acme.until(str(failed.command.process_id), "failed")
            cancelled = await steps.queued(3)
            assert (await acme.post(f"/v1/processes/{cancelled.process_id}/cancel")).is_success
            cancel = await launcher.cancelled(str(cancelled.process_id))

            tokens += [
                done.command.flow_token,
                done.token,
                failed.command.flow_token,
                failed.token,
                cancelled.flow_token,
                cancel.flow_token,
            ]
            answers += await _refusals(acme.key, steps, done)
            for command in (done.command, failed.command, cancelled):
                answers += [(await acme.get(f"/v1/processes/{command.process_id}{path}")).text for path in PATHS]
            answers.append((await acme.get(f"/v1/entities/{ENTITY}/versions/{VERSION}/datasets/filtered-1")).text)
            messages = _messages(launcher)
        manifest = done.manifest()
    async with still.sql() as connection:
        rows = await _rows(connection)
    captured = capfd.readouterr()
    written = {
        "answers": "\n".join(answers),
        "messages": messages,
        "manifest": (manifest or b"").decode(),
        "database": rows,
        "log": "\n".join(logged),
    }
    assert len(set(tokens)) == 6
    assert all(written.values()), "everything was looked at"
    written["output"] = captured.out + captured.err  # may be empty: a logger keeps the stream that it was made with
    assert key_hash(acme.key).hex() in rows, "the dump does hold what is stored of keys"
    password = urlsplit(still.database_url).password or ""
    assert password
    for secret in (acme.key, still.s3_secret_key, password, _body_of(still.signing_key_file), *tokens):
        for place, text in written.items():
            assert secret not in text, place


async def _refusals(key: str, steps: Steps, done: Driver) -> list[str]:
    """Problem documents of requests that carried each kind of credential, and were refused."""
    refused = [
        await done.heartbeat(),
        await done.report("heartbeat", token=done.command.flow_token),
        await done.report("heartbeat", token=key),
        await steps.client.get("/v1/processes", headers={"Authorization": f"Bearer {done.token}"}),
        await steps.caller.post("/v1/processes", {"entity_id": ENTITY, "data_version": VERSION, "action": "no-such-action"}),
    ]
    assert all(answer.status_code >= 400 for answer in refused), [answer.status_code for answer in refused]
    return [answer.text for answer in refused]


def _body_of(pem: str) -> str:
    return "".join(Path(pem).read_text().splitlines()[1:-1])


def _messages(launcher: Launcher) -> str:
    """All messages, without the field that is meant to carry a token."""
    found: list[dict[str, Any]] = [json.loads(message.value()) for messages in launcher.received.values() for message in messages]
    for message in found:
        message.pop("flow_token", None)  # of commands and cancels; events have none
    return json.dumps(found)


async def _rows(connection: asyncpg.Connection) -> str:
    tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    assert len(tables) > 5
    rows = [await connection.fetch(f"SELECT to_jsonb(t)::text AS row FROM {table['tablename']} t") for table in tables]
    return "\n".join(row["row"] for found in rows for row in found)
