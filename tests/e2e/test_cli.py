"""The command line against a whole platform: documents, exit codes, bad input."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.platform import Platform

ENTITY, VERSION = "cli_shop", "v1"


@pytest.fixture(scope="module")
def shop(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("shop") / "sales.csv"
    file.write_text("id,amount,when,code\n1,10.5,2024-01-01,007\n2,NA,2024-01-02,008\n3,7,2024-01-03,009\n")
    platform.cli("ingest", ENTITY, VERSION, str(file), "--null", "NA")
    return ENTITY


@pytest.fixture(scope="module")
def copied(platform: Platform, shop: str) -> dict[str, Any]:
    process: dict[str, Any] = platform.json("run", shop, VERSION, "filter", "-p", "condition=id > 0", "--wait")
    return process


def problem(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The one line on stderr."""
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    document: dict[str, Any] = json.loads(line)
    return document


def test_what_was_ingested_is_typed(platform: Platform, shop: str) -> None:
    assert platform.json("head", shop, VERSION, "source") == [
        {"id": 1, "amount": 10.5, "when": "2024-01-01", "code": "007"},
        {"id": 2, "amount": None, "when": "2024-01-02", "code": "008"},
        {"id": 3, "amount": 7.0, "when": "2024-01-03", "code": "009"},
    ]
    assert len(platform.json("head", shop, VERSION, "source", "-n", "2")) == 2


def test_documents(platform: Platform, copied: dict[str, Any]) -> None:
    assert copied["state"] == "succeeded"
    assert platform.json("get", copied["id"]) == copied
    assert copied["id"] in [item["id"] for item in platform.json("list", "--entity", ENTITY)["items"]]
    assert platform.json("events", copied["id"])["items"][-1]["type"] == "succeeded"
    assert platform.json("logs", copied["id"])["text"]
    (version,) = platform.json("datasets", ENTITY, VERSION)["items"]
    assert {item["dataset"] for item in version["datasets"]} == {"source", "filter"}
    assert {item["name"] for item in platform.json("actions")["items"]} >= {"filter", "aggregate", "sql"}
    assert platform.json("status")
    assert platform.json("version")["version"]


def test_for_people(platform: Platform, copied: dict[str, Any]) -> None:
    assert copied["artifacts"][0]["location"] in platform.cli("get", copied["id"]).stdout
    for arguments in (
        ("list",),
        ("events", copied["id"]),
        ("datasets",),
        ("datasets", ENTITY),
        ("actions",),
        ("actions", "filter"),
        ("status",),
    ):
        done = platform.cli(*arguments)
        assert done.stdout
        assert done.stderr == ""


def test_unknown_names_exit_with_3_and_name_the_nearest(platform: Platform, copied: dict[str, Any]) -> None:
    absent = "0199d1c0-0000-7000-8000-000000000001"
    for command in ("get", "events", "logs", "cancel", "retry"):
        assert problem(platform.cli(command, absent, "--json", code=3))["status"] == 404
    assert "source" in problem(platform.cli("head", ENTITY, VERSION, "sorce", "--json", code=3))["detail"]
    assert VERSION in problem(platform.cli("head", ENTITY, "v2", "source", "--json", code=3))["detail"]
    platform.cli("datasets", ENTITY, "v2", code=3)
    platform.cli("actions", "nonsense", code=3)


def test_taken_names_exit_with_4(platform: Platform, copied: dict[str, Any], tmp_path: Path) -> None:
    other = problem(platform.cli("run", ENTITY, VERSION, "filter", "-p", "condition=id > 1", "--json", code=4))
    assert other["owner_process_id"] == copied["id"]
    file = tmp_path / "again.csv"
    file.write_text("a\n1\n")
    platform.cli("ingest", ENTITY, VERSION, str(file), code=4)
    platform.cli("retry", copied["id"], code=4)
    platform.cli("cancel", copied["id"], code=4)


def test_wrong_requests_exit_with_2(platform: Platform, shop: str) -> None:
    assert "filter" in problem(platform.cli("run", shop, VERSION, "filtr", "--json", code=2))["detail"]
    wrong = problem(platform.cli("run", shop, VERSION, "filter", "-p", "condition=5", "--output-dataset", "w", "--json", code=2))
    assert wrong["errors"][0]["pointer"] == "/parameters/condition"
    platform.cli("run", "no spaces", VERSION, "filter", code=2)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("empty.csv", "", "is empty"),
        ("broken.csv", "a,b\n1,2\n1,2,3\n", "line 3"),
        ("quote.csv", 'a,b\n1,"x\n2,y\n', "quote"),
        ("corrupt.parquet", "PAR1 nothing PAR1", "Parquet"),
    ],
)
def test_broken_files_leave_nothing_behind(platform: Platform, shop: str, tmp_path: Path, name: str, content: str, says: str) -> None:
    (tmp_path / name).write_text(content)
    refused = problem(platform.cli("ingest", shop, "v_broken", str(tmp_path / name), "--json", code=2))
    assert says in refused["detail"]
    platform.cli("head", shop, "v_broken", "source", code=3)


def test_a_time_out_exits_with_6_and_the_work_goes_on(platform: Platform, shop: str) -> None:
    arguments = ("run", shop, VERSION, "filter", "-p", "condition=id > 2", "--output-dataset", "late")
    platform.cli(*arguments, "--wait", "--timeout", "0", "--json", code=6)
    assert platform.json(*arguments, "--wait")["state"] == "succeeded"


def test_a_cancelled_run_exits_with_1_and_can_be_retried(platform: Platform, shop: str) -> None:
    process = platform.json("run", shop, VERSION, "filter", "-p", "condition=id > 1", "--output-dataset", "stopped")
    stopped = platform.json("cancel", process["id"], "--wait")
    assert stopped["state"] == "cancelled"
    assert platform.json("get", process["id"], "--wait", code=1)["state"] == "cancelled"
    again = platform.json("retry", process["id"], "--wait")
    assert again["state"] == "succeeded"
    assert again["retry_of"] == process["id"]


def test_reproduce(platform: Platform, copied: dict[str, Any]) -> None:
    result = platform.json("reproduce", ENTITY, VERSION, "filter")
    assert result["same"] is True
    assert result["expected"] == result["found"] == copied["artifacts"][0]["content_fingerprint"]
    assert result["process"]["id"] != copied["id"]
    platform.cli("reproduce", ENTITY, VERSION, "source", code=2)


def test_up_again_prints_the_same_document(platform: Platform) -> None:
    assert platform.json("up", "--detach") == platform.document
