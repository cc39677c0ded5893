"""API keys are managed."""

from pathlib import Path

from control_plane.migrations.script import run_script

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add what listing and telling their use needs."""
    run_script(Path(__file__).with_suffix(".sql"))
