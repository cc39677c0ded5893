"""What starts often starts light: a role at each restart, a driver for each attempt, a command at each call."""

import subprocess
import sys

import pytest

DEAR = {"alembic", "sqlalchemy", "lark", "rfc3987_syntax", "schemathesis", "hypothesis", "pytest", "duckdb", "pandas", "polars"}
"""Seconds of work, or memory, for what no role needs; optional parts of our libraries among them, which anything may pull in."""


def imported(modules: str) -> set[str]:
    """What is loaded after an import of modules, by name."""
    code = f"import {modules}, sys; print(*sys.modules)"
    return set(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split())


@pytest.mark.parametrize("module", ["control_plane.__main__", "launcher.__main__", "spark_jobs.cli", "stratum.cli.main"])
def test_nothing_dear_is_imported(module: str) -> None:
    loaded = imported(module)
    assert module in loaded
    assert DEAR & loaded == set()


@pytest.mark.parametrize(
    ("role", "others"),
    [
        ("api.app", {"pyarrow", "confluent_kafka"}),
        ("relay", {"fastapi", "boto3", "pyarrow", "sqlglot"}),
        ("reconcile", {"fastapi", "pyarrow", "sqlglot"}),
        ("webhooks.role", {"fastapi", "boto3", "pyarrow", "sqlglot", "confluent_kafka"}),
    ],
)
def test_a_role_imports_nothing_of_another(role: str, others: set[str]) -> None:
    assert others & imported(f"control_plane.__main__, control_plane.{role}") == set()
