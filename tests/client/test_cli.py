"""The command line: options, the one JSON document, exit codes. Against the scripted server, as a process of its own where it matters."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner, Result

from stratum.cli.main import app
from stratum.cli.options import json_or_text
from tests.client.conftest import Reply, ScriptedServer

ID = "0199d1c0-0000-7000-8000-000000000001"
STRATUM = [sys.executable, "-c", "from stratum.cli.main import app; app()"]


@pytest.fixture
def connected(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> ScriptedServer:
    monkeypatch.setenv("STRATUM_URL", server.url)
    monkeypatch.setenv("STRATUM_TOKEN", "t")
    monkeypatch.setattr("stratum.cli.session.RETRY_SECONDS", 0.05)
    return server


def stratum(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def problem(status: int, detail: str = "What happened.", **members: Any) -> Reply:
    return Reply(status, {"type": "urn:stratum:problem:x", "title": "X", "status": status, "detail": detail, **members})


@pytest.mark.parametrize(("status", "code"), [(404, 3), (409, 4), (503, 5), (422, 2), (401, 1), (403, 1), (500, 1)])
def test_exit_codes_of_problems(connected: ScriptedServer, status: int, code: int) -> None:
    connected.answers(problem(status))
    result = stratum("get", ID, "--json")
    assert result.exit_code == code
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert json.loads(line)["detail"] == "What happened."
    plain = stratum("get", ID)
    assert plain.exit_code == code
    assert plain.stderr.splitlines()[0] == "Error: What happened."


def test_run_prints_the_process_document(connected: ScriptedServer, process: dict[str, Any]) -> None:
    connected.answers(Reply(202, {**process, "state": "accepted", "ended_at": None}))
    result = stratum(
        *("run", "cust_8842", "v2024.10.05", "aggregate_revenue", "-p", "currency=EUR", "-p", 'by=["region"]', "-p", "top=5"),
        *("--output-dataset", "o", "--output-version", "w", "--priority", "3", "--label", "team=a", "--resource", "shuffle_partitions=8"),
        "--json",
    )
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["state"] == "accepted"
    assert json.loads(connected.requests[0].body) == {
        "entity_id": "cust_8842",
        "data_version": "v2024.10.05",
        "action": "aggregate_revenue",
        "parameters": {"currency": "EUR", "by": ["region"], "top": 5},
        "output_dataset": "o",
        "output_data_version": "w",
        "priority": 3,
        "labels": {"team": "a"},
        "resource_profile": {"shuffle_partitions": 8},
    }


@pytest.mark.parametrize(("state", "code"), [("succeeded", 0), ("failed", 1), ("cancelled", 1)])
def test_run_wait_exits_by_how_it_ended(connected: ScriptedServer, process: dict[str, Any], state: str, code: int) -> None:
    connected.answers(
        Reply(202, {**process, "state": "accepted"}), Reply(200, {**process, "state": "running"}), Reply(200, {**process, "state": state})
    )
    result = stratum("run", "e", "v", "a", "--wait", "--json")
    assert result.exit_code == code
    assert json.loads(result.stdout)["state"] == state
    assert result.stderr == ""


def test_run_wait_gives_up_after_the_timeout(connected: ScriptedServer, process: dict[str, Any]) -> None:
    connected.answers(Reply(200, {**process, "state": "running"}))
    result = stratum("run", "e", "v", "a", "--wait", "--timeout", "0.2", "--json")
    assert result.exit_code == 6
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("run", "e", "v"), "Missing argument"),
        (("run", "e", "v", "a", "-p", "novalue"), "key=value"),
        (("run", "e", "v", "a", "-p", "x=1", "-p", "x=2"), "twice"),
        (("run", "e", "v", "a", "--priority", "1000"), "less than or equal to 100"),
        (("run", "e", "v", "a", "--resource", "driver_cores=many"), "driver_cores"),
        (("run", "no spaces", "v", "a"), "entity_id"),
        (("get",), "Missing argument"),
        (("nonsense",), "No such command"),
        (("head", "e", "v", "d", "-n", "0"), "greater than"),
    ],
)
def test_usage_errors_exit_with_2(connected: ScriptedServer, arguments: tuple[str, ...], says: str) -> None:
    result = stratum(*arguments)
    assert result.exit_code == 2
    assert says in result.stderr
    assert connected.requests == []


@pytest.mark.parametrize(
    ("text", "value"),
    [("EUR", "EUR"), ("5", 5), ("1.5", 1.5), ("true", True), ("null", None), ('"5"', "5"), ('["a","b"]', ["a", "b"]), ("a > 5", "a > 5"),
     ("NaN", "NaN"), ("", ""), ("[1,", "[1,")],
)  # fmt: skip
def test_parameters_are_json_or_text(text: str, value: object) -> None:
    assert json_or_text(text) == value


def test_list_is_the_page(connected: ScriptedServer, process: dict[str, Any]) -> None:
    connected.answers(Reply(200, {"items": [process], "next_cursor": "more"}))
    document = json.loads(stratum("list", "--state", "failed", "--entity", "e", "--limit", "1", "--json").stdout)
    assert document["items"][0]["id"] == ID
    assert document["next_cursor"] == "more"
    assert connected.requests[0].path == "/v1/processes?state=failed&entity_id=e&limit=1"
    assert "stratum list --cursor more" in stratum("list").stdout


def test_brackets_in_reasons_are_shown(connected: ScriptedServer, process: dict[str, Any]) -> None:
    connected.answers(Reply(200, {**process, "state": "failed", "reason": "[UNRESOLVED_COLUMN] there is no column `x` [/bold]"}))
    assert "[UNRESOLVED_COLUMN] there is no column `x` [/bold]" in stratum("get", ID).stdout


def test_events_and_logs(connected: ScriptedServer) -> None:
    items = [
        {"sequence": 1, "type": "accepted", "at": "2026-01-01T00:00:00Z", "data": {}},
        {"sequence": 2, "type": "queued", "at": "2026-01-01T00:00:01.5Z", "data": {"reason": "released"}},
    ]
    connected.answers(Reply(200, {"items": items}))
    assert [item["type"] for item in json.loads(stratum("events", ID, "--json").stdout)["items"]] == ["accepted", "queued"]
    assert "+1.5 s" in stratum("events", ID).stdout
    connected.answers(Reply(200, {"text": "a line\n", "next_offset": 7, "complete": True}))
    assert stratum("logs", ID).stdout == "a line\n"
    assert json.loads(stratum("logs", ID, "--json").stdout) == {"text": "a line\n"}


def test_followed_logs_end_with_the_state(connected: ScriptedServer, process: dict[str, Any]) -> None:
    chunks = [("one\n", 4, False), ("", 4, False), ("two\n", 8, True)]
    replies = [Reply(200, {"text": text, "next_offset": offset, "complete": complete}) for text, offset, complete in chunks]
    connected.answers(*replies, Reply(200, {**process, "state": "failed", "reason": "the driver ran out of memory"}))
    result = stratum("logs", ID, "-f")
    assert result.stdout == "one\ntwo\n"
    assert result.stderr == "failed: the driver ran out of memory\n"


def test_a_broken_file_is_refused_before_anything_is_sent(connected: ScriptedServer, tmp_path: Path) -> None:
    connected.answers(problem(404))
    path = tmp_path / "orders.csv"
    path.write_text("a,b\n1,2\n1,2,3\n")
    result = stratum("ingest", "e", "v", str(path), "--json")
    assert result.exit_code == 2
    assert "line 3: 3 fields where the header has 2" in json.loads(result.stderr)["detail"]
    assert [request.method for request in connected.requests] == ["GET"]


def test_a_sealed_name_is_refused_before_anything_is_read(connected: ScriptedServer, process: dict[str, Any], tmp_path: Path) -> None:
    sha = f"sha256:{'0' * 64}"
    manifest = {
        "tenant": "t",
        "entity_id": "e",
        "data_version": "v",
        "dataset": "source",
        "run_id": "r",
        "location": "s3://b/e/v/source/r/",
        "process_id": ID,
        "step": 0,
        "attempt": 1,
        "action": "filter",
        "action_revision": sha,
        "parameters": {},
        "inputs": [],
        "image": "i",
        "code_version": "1",
        "spark_version": "4",
        "created_at": "2026-01-01T00:00:00Z",
        "files": [],
        "rows": 0,
        "bytes": 0,
        "columns": [{"name": "a", "type": "int"}],
        "schema_fingerprint": sha,
        "manifest": "s3://b/e/v/source/_manifest.json",
        "manifest_sha256": sha,
        "urls": [],
    }
    connected.answers(Reply(200, manifest))
    refused = stratum("ingest", "e", "v", str(tmp_path / "absent.csv"), "--json")
    assert refused.exit_code == 4, refused.stderr
    assert json.loads(refused.stderr)["owner_process_id"] == ID


def test_no_platform_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STRATUM_URL", raising=False)
    monkeypatch.delenv("STRATUM_TOKEN", raising=False)
    monkeypatch.setenv("STRATUM_HOME", str(tmp_path))
    assert stratum("list").exit_code == 5


def test_help_has_examples() -> None:
    shown = stratum()
    assert "stratum run shop v1 filter" in shown.output
    assert "Exit codes" in stratum("--help").output


def test_the_reference_says_which_commands_give_json() -> None:
    without = [name for name, command in _commands(get_command(app)) if not any("--json" in option.opts for option in command.params)]
    (command,) = without
    reference = (Path(__file__).parents[2] / "docs/reference/command-line.md").read_text()
    assert f"Every command but `{command}` takes `--json`" in reference


def _commands(command: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if not hasattr(command, "commands"):
        yield name, command
        return
    for inner, each in command.commands.items():
        yield from _commands(each, f"{name} {inner}".strip())


def test_starting_is_quick_and_loads_nothing_heavy() -> None:
    code = "import sys; from stratum.cli.main import app; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"pyarrow", "pandas", "polars", "duckdb", "boto3", "httpx", "pydantic", "rich", "pyspark"}
    assert heavy & {name.partition(".")[0] for name in loaded} == set()
    # beside the library that reads the command line, its own modules cost little
    assert _processor_seconds([*STRATUM, "--help"]) < 4 * _processor_seconds([sys.executable, "-c", "import typer"])


def _processor_seconds(command: list[str]) -> float:
    """The least of three runs: what else the machine does costs time, but little of the processor's."""

    def once() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    return min(once() for _ in range(3))


def test_a_closed_pipe_is_no_traceback(connected: ScriptedServer, process: dict[str, Any]) -> None:
    connected.answers(Reply(200, {"items": [process] * 200, "next_cursor": None}))
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([*STRATUM, "list", "--json"], stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert "Traceback" not in done.stderr
