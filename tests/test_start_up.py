"""What starts often starts light: a role at each restart, a driver for each attempt, a command at each call."""

import subprocess
import sys

import pytest

DEAR = {"alembic", "sqlalchemy", "lark", "rfc3987_syntax", "schemathesis", "hypothesis", "pytest", "duckdb", "pandas", "polars"}
"""Seconds of work, or memory, for what no role needs; optional parts of our libraries among them, which anything may pull in."""


@pytest.mark.parametrize("module", ["control_plane.__main__", "launcher.__main__", "spark_jobs.cli", "stratum.cli.main"])
def test_nothing_dear_is_imported(module: str) -> None:
    code = f"import {module}, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert module in loaded
    assert DEAR & set(loaded) == set()
