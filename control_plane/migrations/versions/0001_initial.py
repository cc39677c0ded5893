"""The first schema."""

from pathlib import Path

from control_plane.migrations.script import run_script

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create everything."""
    run_script(Path(__file__).with_suffix(".sql"))
