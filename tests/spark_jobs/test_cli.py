"""The command line: a file, flags, and what is wrong with them."""

import json
from pathlib import Path

import pytest

from contracts.layout import StorageRoot
from spark_jobs.cli import main, read_command
from spark_jobs.errors import InvalidCommand
from spark_jobs.settings import read_settings
from tests.spark_jobs.sealed import command
from tests.spark_jobs.test_callbacks import INPUT


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "command.json"
    path.write_text(command("http://127.0.0.1/callback", StorageRoot("bucket"), "profile", {}, INPUT).model_dump_json())
    return path


def test_flags_override_fields(file: Path) -> None:
    read = read_command(file, {"entity_id": "8842", "attempt": "3", "parameters": '{"a": [1]}', "traceparent": None})
    assert (read.entity_id, read.attempt, read.parameters, read.action) == ("8842", 3, {"a": [1]}, "profile")


def test_flags_alone_are_enough(file: Path) -> None:
    whole = read_command(file, {})
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in json.loads(whole.model_dump_json()).items()}
    assert read_command(None, {name: text for name, text in texts.items() if text != "null"}) == whole


@pytest.mark.parametrize(
    ("overrides", "complaint"),
    [
        ({"attempt": "0"}, "attempt"),
        ({"inputs": "[]"}, "inputs"),
        ({"parameters": "{"}, "--parameters must be JSON"),
        ({"tenant": "A"}, "tenant"),
    ],
)
def test_wrong_fields_are_named(file: Path, overrides: dict[str, str | None], complaint: str) -> None:
    with pytest.raises(InvalidCommand, match=complaint):
        read_command(file, overrides)


@pytest.mark.parametrize("content", ["", "[]", "{}", "no json"])
def test_an_unreadable_file_ends_with_the_usage_code(tmp_path: Path, content: str) -> None:
    path = tmp_path / "command.json"
    path.write_text(content)
    assert main(["run", "--command", str(path)]) == 2


def test_missing_variables_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STRATUM_S3_ENDPOINT", "STRATUM_S3_ACCESS_KEY", "STRATUM_S3_SECRET_KEY", "STRATUM_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InvalidCommand, match="STRATUM_S3_ENDPOINT"):
        read_settings()
