"""Left-overs, retirement, rebuild."""

from pathlib import Path

from control_plane.migrations.script import run_script

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add what sweeping, retiring and rebuilding need."""
    run_script(Path(__file__).with_suffix(".sql"))
