"""Uploads are sealed without a connection being held; keys are a tenant's own rows."""

from pathlib import Path

from control_plane.migrations.script import run_script

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add what short transactions and confined keys need."""
    run_script(Path(__file__).with_suffix(".sql"))
