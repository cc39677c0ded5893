"""Seals have a limit."""

from pathlib import Path

from control_plane.migrations.script import run_script

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add what the limit needs."""
    run_script(Path(__file__).with_suffix(".sql"))
