"""Jobs that no attempt knows are remembered."""

from pathlib import Path

from control_plane.migrations.script import run_script

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Add where they are remembered."""
    run_script(Path(__file__).with_suffix(".sql"))
