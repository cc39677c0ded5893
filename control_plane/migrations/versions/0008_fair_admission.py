"""Admission is fair first: a tenant's priorities do not stand before another tenant."""

from pathlib import Path

from control_plane.migrations.script import run_script

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Put the order of admission anew."""
    run_script(Path(__file__).with_suffix(".sql"))
