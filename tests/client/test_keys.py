"""`stratum keys` and the calls behind it."""

import json
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from stratum.cli.main import app
from stratum.client import Client, Invalid
from tests.client.conftest import Reply, ScriptedServer

ID = "0199d1c0-0000-7000-8000-000000000001"
KEY = "stratum_x7Kq02Lm_" + "s" * 43
ENTRY: dict[str, Any] = {
    "id": ID, "name": "nightly", "role": "operator", "prefix": "stratum_x7Kq02Lm", "state": "active", "created_at": "2026-01-01T00:00:00Z",
    "expires_at": None, "last_used_at": None, "revoked_at": None,
}  # fmt: skip


@pytest.fixture
def connected(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> ScriptedServer:
    monkeypatch.setenv("STRATUM_URL", server.url)
    monkeypatch.setenv("STRATUM_TOKEN", "t")
    monkeypatch.setattr("stratum.cli.session.RETRY_SECONDS", 0.05)
    return server


def stratum(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["keys", *arguments])


def test_list(connected: ScriptedServer) -> None:
    old = {**ENTRY, "state": "revoked", "id": ID.replace("1", "2"), "name": "old", "revoked_at": "2026-01-02T00:00:00Z"}
    connected.answers(Reply(200, {"items": [ENTRY], "next_cursor": "c"}), Reply(200, {"items": [old], "next_cursor": None}))
    result = stratum("list", "--json", "--all")
    assert json.loads(result.stdout) == {"items": [ENTRY, old]}
    assert [request.path for request in connected.requests] == ["/v1/keys?limit=200", "/v1/keys?limit=200&cursor=c"]
    connected.answers(Reply(200, {"items": [ENTRY, old], "next_cursor": None}))
    shown = stratum("list").stdout
    assert all(part in shown for part in (ID, "nightly", "operator", "stratum_x7Kq02Lm", "never"))
    assert "old" not in shown


def test_create(connected: ScriptedServer) -> None:
    connected.answers(Reply(201, {**ENTRY, "key": KEY}))
    result = stratum("create", "nightly", "--role", "operator", "--expires-in", "90d", "--json")
    assert (result.exit_code, json.loads(result.stdout)["key"]) == (0, KEY)
    assert json.loads(connected.requests[0].body) == {"name": "nightly", "role": "operator", "expires_in_seconds": 90 * 86_400}
    assert KEY in stratum("create", "nightly", "--role", "operator").stdout.splitlines()


def test_a_lost_answer_is_not_asked_for_again(connected: ScriptedServer) -> None:
    """Every POST makes a key; nobody would know of the first."""
    connected.answers(Reply(502, {}), Reply(201, {**ENTRY, "key": KEY}))
    assert stratum("create", "nightly", "--role", "operator").exit_code == 5
    assert len(connected.requests) == 1


def test_rotate_and_revoke(connected: ScriptedServer) -> None:
    connected.answers(Reply(201, {**ENTRY, "key": KEY}))
    assert json.loads(stratum("rotate", ID, "--grace", "2h", "--json").stdout)["key"] == KEY
    assert (connected.requests[0].path, json.loads(connected.requests[0].body)) == (f"/v1/keys/{ID}/rotate", {"grace_seconds": 7200})
    connected.answers(Reply(200, {**ENTRY, "state": "revoked"}))
    assert json.loads(stratum("revoke", ID, "--json").stdout)["state"] == "revoked"
    assert "nightly (stratum_x7Kq02Lm…) is revoked." in stratum("revoke", ID).stdout
    connected.answers(Reply(409, {"type": "x", "title": "x", "status": 409, "detail": "the last"}))
    assert stratum("revoke", ID).exit_code == 4


@pytest.mark.parametrize(
    "arguments",
    [("rotate", ID, "--grace", "soon"), ("rotate", ID, "--grace", "60d"), ("create", "", "--role", "viewer"), ("revoke", KEY)],
)
def test_usage(arguments: tuple[str, ...], connected: ScriptedServer) -> None:
    result = stratum(*arguments)
    assert result.exit_code == 2
    assert not connected.requests
    assert KEY not in result.output, "a key given by mistake for its id is not repeated"


def test_the_key_is_not_in_what_is_printed_of_it(connected: ScriptedServer) -> None:
    connected.answers(Reply(201, {**ENTRY, "key": KEY}))
    with Client() as client:
        issued = client.create_key("nightly", "operator")
        assert (issued.key, KEY in repr(issued)) == (KEY, False)
        with pytest.raises(Invalid, match="role"):
            client.create_key("nightly", "owner")  # type: ignore[arg-type]
