"""`python -m spark_jobs run`: the command line of a job. Its flags are the fields of the command."""

import argparse
import json
import signal
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import structlog
from pydantic import ValidationError

from contracts.command import Command
from spark_jobs.driver import ExitCode, run
from spark_jobs.errors import InvalidCommand, Terminated
from spark_jobs.logs import log_as_json
from spark_jobs.settings import read_settings

log = structlog.get_logger()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the job that the arguments describe; returns the exit code."""
    log_as_json()
    given = vars(_parser().parse_args(arguments))
    try:
        command = read_command(given.pop("command"), {name: text for name, text in given.items() if name in Command.model_fields})
        settings = read_settings()
    except InvalidCommand as error:
        log.error("the job cannot start", reason=str(error))  # noqa: TRY400  # expected, no trace needed
        return ExitCode.USAGE
    structlog.contextvars.bind_contextvars(
        process_id=str(command.process_id), step=command.step, attempt=command.attempt, run_id=settings.run_id
    )
    signal.signal(signal.SIGTERM, _terminate)
    try:
        return run(command, settings)
    except Terminated as error:
        log.warning("terminated", reason=str(error))
        return ExitCode.TERMINATED


def read_command(path: Path | None, overrides: dict[str, str | None]) -> Command:
    """The command of the file, its fields overridden by flags. Structured fields are JSON, all others plain text.

    Raises:
        InvalidCommand: the file cannot be read, or a field is missing or wrong.
    """
    fields = _read_file(path) if path else {}
    for name, text in overrides.items():
        if text is not None:
            fields[name] = text if _is_text(name) else _parse(name, text)
    try:
        return Command.model_validate_json(json.dumps(fields))
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise InvalidCommand(f"the command cannot be used: {problems}") from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m spark_jobs", description="Stratum's jobs.")
    run_parser = parser.add_subparsers(dest="job", required=True).add_parser(
        "run", help="run one attempt", description="Run one attempt. Every field of the command may be given as a flag."
    )
    run_parser.add_argument("--command", type=Path, help="file with the command as JSON")
    for name, field in Command.model_fields.items():
        text = field.description or ("text" if _is_text(name) else "JSON")
        run_parser.add_argument(f"--{name.replace('_', '-')}", dest=name, help=text.replace("%", "%%"))
    return parser


def _read_file(path: Path) -> dict[str, Any]:
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidCommand(f"the command file {path} cannot be read: {error}") from error
    if not isinstance(fields, dict):
        raise InvalidCommand(f"the command file {path} must hold a JSON object")
    return fields


def _parse(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise InvalidCommand(f"--{name.replace('_', '-')} must be JSON: {error}") from error


@cache
def _is_text(name: str) -> bool:
    """Whether the field is a JSON string, hence given as plain text on the command line."""
    schema = Command.model_json_schema()["properties"][name]
    return "string" in {kind.get("type") for kind in (schema, *schema.get("anyOf", []))}


def _terminate(number: int, _: object) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # one is enough: the report of the end must not be cut off
    raise Terminated(f"the run was asked to stop by {signal.Signals(number).name}")
