"""The SDK against a real HTTP server that misbehaves by script."""

import socket
import time
from typing import Any

import pytest

from stratum.client import (
    AsyncClient,
    Client,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    ProcessFailed,
    ServerFault,
    StratumError,
    TimedOut,
    Unauthenticated,
    Unavailable,
)
from tests.client.conftest import CUT, Reply, ScriptedServer

ID = "0199d1c0-0000-7000-8000-000000000001"


def client_of(server: ScriptedServer, retry_seconds: float = 5.0) -> Client:
    return Client(server.url, "secret", retry_seconds=retry_seconds)


def problem(status: int, **members: Any) -> Reply:
    return Reply(status, {"type": "urn:stratum:problem:x", "title": "X", "status": status, "detail": "What happened.", **members})


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Invalid),
        (401, Unauthenticated),
        (403, Forbidden),
        (404, NotFound),
        (409, Conflict),
        (410, Conflict),
        (413, Invalid),
        (422, Invalid),
        (500, ServerFault),
        (503, Unavailable),
        (429, Unavailable),
    ],
)
def test_problems_become_errors(server: ScriptedServer, status: int, kind: type[StratumError]) -> None:
    server.answers(problem(status, errors=[{"pointer": "/parameters/x", "detail": "is not a number"}]))
    with client_of(server, retry_seconds=0.01) as client, pytest.raises(kind) as raised:
        client.get(ID)
    assert raised.value.message == "What happened.\n  /parameters/x: is not a number"
    assert raised.value.problem is not None
    assert raised.value.problem["type"] == "urn:stratum:problem:x"


def test_a_taken_name_tells_its_owner(server: ScriptedServer) -> None:
    server.answers(problem(409, owner_process_id=ID))
    with client_of(server) as client, pytest.raises(Conflict) as raised:
        client.run("e", "v", "a")
    assert raised.value.owner_process_id == ID
    assert len(server.requests) == 1


def test_the_token_is_sent_and_newer_fields_are_ignored(server: ScriptedServer, process: dict[str, Any]) -> None:
    server.answers(Reply(200, process))
    with client_of(server) as client:
        assert client.get(ID).action == "aggregate_revenue"
    (request,) = server.requests
    assert request.headers["Authorization"] == "Bearer secret"
    assert request.path == f"/v1/processes/{ID}"


def test_names_are_escaped_in_paths(server: ScriptedServer) -> None:
    server.answers(problem(404))
    with client_of(server) as client, pytest.raises(NotFound):
        client.dataset("x y", "ä", "c?d")
    assert server.requests[0].path == "/v1/entities/x%20y/versions/%C3%A4/datasets/c%3Fd"


def test_a_path_is_no_name(server: ScriptedServer) -> None:
    with client_of(server) as client, pytest.raises(Invalid, match="is not a name"):
        client.get("../actions")
    assert not server.requests


def test_a_post_is_sent_again_with_the_same_key(server: ScriptedServer, process: dict[str, Any]) -> None:
    server.answers(Reply(CUT), problem(503), Reply(202, process))
    with client_of(server) as client:
        client.run("cust_8842", "v2024.10.05", "aggregate_revenue", {"currency": "EUR"})
    keys = [request.headers["Idempotency-Key"] for request in server.requests]
    assert len(keys) == 3
    assert len(set(keys)) == 1
    assert len({request.body for request in server.requests}) == 1


def test_a_key_still_in_work_is_asked_again(server: ScriptedServer, process: dict[str, Any]) -> None:
    conflict = problem(409)
    conflict.headers["Retry-After"] = "0"
    server.answers(conflict, Reply(202, process))
    with client_of(server) as client:
        client.run("e", "v", "a")
    assert len(server.requests) == 2


@pytest.mark.parametrize("status", [503, 429])
def test_retry_after_is_honoured(server: ScriptedServer, process: dict[str, Any], status: int) -> None:
    busy = problem(status)
    busy.headers["Retry-After"] = "1"
    server.answers(busy, Reply(200, process))
    began = time.monotonic()
    with client_of(server) as client:
        client.get(ID)
    assert 1.0 <= time.monotonic() - began < 3.0


def test_what_may_have_been_done_is_not_sent_again(server: ScriptedServer) -> None:
    server.answers(Reply(CUT))
    with client_of(server) as client, pytest.raises(Unavailable):
        client.retry(ID)
    assert len(server.requests) == 1


def test_bad_requests_are_not_repeated(server: ScriptedServer) -> None:
    server.answers(problem(422))
    with client_of(server) as client, pytest.raises(Invalid):
        client.run("e", "v", "a")
    assert len(server.requests) == 1


def test_nobody_listening_is_unavailable() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with Client(url, "t", retry_seconds=0.3) as client, pytest.raises(Unavailable, match="cannot be reached") as raised:
        client.get(ID)
    assert not raised.value.maybe_done
    assert raised.value.__cause__ is not None


@pytest.mark.parametrize("body", [b"<html>hello</html>", b"[]", b'{"id": 1}'])
def test_answers_that_are_not_the_protocol(server: ScriptedServer, body: bytes) -> None:
    server.answers(Reply(200, body))
    with client_of(server) as client, pytest.raises(ServerFault):
        client.get(ID)


def test_errors_that_are_not_problem_documents(server: ScriptedServer) -> None:
    server.answers(Reply(404, b"<html>no such page</html>"))
    with client_of(server) as client, pytest.raises(NotFound, match="no such page"):
        client.get(ID)


def test_wait_follows_to_the_end(server: ScriptedServer, process: dict[str, Any]) -> None:
    running = {**process, "state": "running", "ended_at": None}
    server.answers(Reply(200, running), Reply(200, running), problem(503), Reply(200, process))
    seen: list[str] = []
    with client_of(server, retry_seconds=0.01) as client:
        assert client.wait(ID, on_change=lambda p: seen.append(p.state)).state == "succeeded"
    assert seen == ["running", "succeeded"]


def test_wait_ends_with_the_time_or_the_failure(server: ScriptedServer, process: dict[str, Any]) -> None:
    server.answers(Reply(200, {**process, "state": "running", "ended_at": None, "reason": "stage 1"}))
    with client_of(server) as client:
        with pytest.raises(TimedOut, match=r"running after 0\.3 s: stage 1"):
            client.wait(ID, timeout=0.3)
        server.answers(Reply(200, {**process, "state": "failed", "reason": "out of memory"}))
        with pytest.raises(ProcessFailed, match="out of memory"):
            client.wait(ID)
        assert client.wait(ID, check=False).state == "failed"


def test_pages_are_followed(server: ScriptedServer, process: dict[str, Any]) -> None:
    server.answers(Reply(200, {"items": [process] * 2, "next_cursor": "c1"}), Reply(200, {"items": [process], "next_cursor": None}))
    with client_of(server) as client:
        assert len(list(client.processes(state="succeeded"))) == 3
    assert [request.path for request in server.requests] == ["/v1/processes?state=succeeded", "/v1/processes?state=succeeded&cursor=c1"]


def test_logs_are_followed(server: ScriptedServer) -> None:
    chunks = [("a", 1, False), ("", 1, False), ("b", 2, False), ("c", 3, True)]
    server.answers(*(Reply(200, {"text": text, "next_offset": offset, "complete": complete}) for text, offset, complete in chunks))
    with client_of(server) as client:
        assert list(client.logs(ID, follow=True)) == ["a", "b", "c"]
    assert [request.path.partition("?")[2] for request in server.requests] == ["offset=0", "offset=1", "offset=1", "offset=2"]


async def test_the_asynchronous_client_is_the_same(server: ScriptedServer, process: dict[str, Any]) -> None:
    server.answers(problem(503), Reply(202, process), Reply(200, process))
    async with AsyncClient(server.url, "secret", retry_seconds=5) as client:
        assert (await client.run("e", "v", "a", wait=True)).state == "succeeded"


def test_settings_come_from_the_environment(server: ScriptedServer, process: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    server.answers(Reply(200, process))
    monkeypatch.setenv("STRATUM_URL", server.url)
    monkeypatch.setenv("STRATUM_TOKEN", "from-the-environment")
    with Client() as client:
        client.get(ID)
    assert server.requests[0].headers["Authorization"] == "Bearer from-the-environment"


def test_settings_that_make_no_sense(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.delenv("STRATUM_URL", raising=False)
    monkeypatch.delenv("STRATUM_TOKEN", raising=False)
    monkeypatch.setenv("STRATUM_HOME", str(tmp_path))
    with pytest.raises(Unavailable, match="No platform is known"):
        Client()
    with pytest.raises(Invalid, match="no token"):
        Client("http://127.0.0.1:1")
    with pytest.raises(Invalid, match="not of the form"):
        Client("127.0.0.1:1", "t")
    (tmp_path / "platform.json").write_text("{")
    with pytest.raises(Invalid, match=r"platform\.json"):
        Client()
